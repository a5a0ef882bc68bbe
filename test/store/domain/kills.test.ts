import { afterAll, beforeAll, expect, test } from 'vitest';
import { atCalls, RUNS, writeSomething } from './each-call.ts';
import { Libvirt } from './libvirt.ts';
import { DomainPlace } from './place.ts';
import { virshProxy, withVirsh } from './virsh-proxy.ts';

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
