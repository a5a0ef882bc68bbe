import { afterAll, beforeAll, expect, test } from 'vitest';
import { writeSomething } from '../live/steps.ts';
import { atCalls, RUNS } from './each-call.ts';
import { Libvirt } from './libvirt.ts';
import { DomainPlace } from './place.ts';
import { virshProxy, withVirsh } from './virsh-proxy.ts';

/** Number of the first call of virsh behind `backup-begin`. */
const WHEN_CONNECTED = 6;

let libvirt: Libvirt;
beforeAll(async () => {
  libvirt = await Libvirt.start();
});
afterAll(() => libvirt.stop());

test.each(RUNS)(
  'commitDomain is right after QEMU was killed %s virsh was called in the commit before, from %i on',
  async (moment, first) => {
    const place = await DomainPlace.create(libvirt);
    await place.define();
    await atCalls(first, async (step) => {
      await place.start();
      await place.commitExactly();
      await writeSomething(place);
      const kill = `kill -9 $(cat '${place.pidFile}'); sleep 0.2`;
      const proxy = virshProxy(place.made.file(`proxy-${step}`), step, moment, kill);
      await withVirsh(proxy, () => place.commit()).catch((error: unknown) =>
        expect(error).toMatchObject({
          code: expect.stringMatching(/^(LIBVIRT|NBD|USAGE)$/),
          message: expect.stringMatching(/^[^\n]*$/),
        }),
      );
      expect(place.scratch(), `${step} ${moment}`).toEqual([]);
      await place.kill();
      await place.start();
      await writeSomething(place);
      await place.commitExactly();
      await place.virsh('destroy');
      return proxy.commands();
    });
  },
);

test('commitDomain says so when somebody else ends its backup, and goes on from the version before', async () => {
  const place = await DomainPlace.running(libvirt);
  await place.commitExactly();
  await writeSomething(place);
  // The call for domain.xml, when the disks are connected: of a client that is only just connecting, QEMU 7.2 may not let go when its NBD server stops, and libvirt waits for that.
  const proxy = virshProxy(
    place.made.file('proxy'),
    WHEN_CONNECTED,
    'before',
    `real "$1" "$2" "$3" domjobabort ${place.name}`,
  );
  await expect(withVirsh(proxy, () => place.commit())).rejects.toMatchObject({
    code: 'LIBVIRT',
    message: `domain ${place.name}: its backup was ended by somebody else while its disks were read: nothing was stored: try again`,
  });
  expect(proxy.commands().slice(WHEN_CONNECTED - 2, WHEN_CONNECTED)).toEqual(['backup-begin', 'dumpxml']);
  await place.expectClean();
  expect(await place.commitExactly()).toMatchObject({ notices: [] });
});

test('commitDomain ends the backup of a commit in which libvirtd was killed, and goes on from the version before', async () => {
  const place = await DomainPlace.running(libvirt);
  await place.commitExactly();
  await writeSomething(place);
  const proxy = virshProxy(
    place.made.file('proxy'),
    'backup-begin',
    'after',
    `kill -9 $(cat '${libvirt.pidFile}')`,
  );
  await expect(withVirsh(proxy, () => place.commit())).rejects.toMatchObject({ code: 'LIBVIRT' });
  await libvirt.startDaemon();
  await writeSomething(place);
  const { readBytes } = await place.commitExactly();
  expect(readBytes[0]).toBeLessThan(300_000);
});
