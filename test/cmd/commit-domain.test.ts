import { afterAll, beforeAll, expect, test } from 'vitest';
import { atCalls, RUNS } from '../store/domain/each-call.ts';
import { Libvirt } from '../store/domain/libvirt.ts';
import { DomainPlace } from '../store/domain/place.ts';
import { virshProxy } from '../store/domain/virsh-proxy.ts';
import { writeSomething } from '../store/live/steps.ts';
import { Workplace } from './imgstore.ts';

let libvirt: Libvirt;
beforeAll(async () => {
  libvirt = await Libvirt.start();
});
afterAll(() => libvirt.stop());

function argumentsOf(place: DomainPlace): string[] {
  return ['--store', place.made.path, 'commit', '--domain', place.name, '--connect', libvirt.uri];
}

test.each(RUNS)(
  'imgstore commit --domain is right after it was killed %s it called virsh, from %i on',
  async (moment, first) => {
    const place = await DomainPlace.running(libvirt);
    const shell = await Workplace.create();
    await place.commitExactly();
    let fromScratch = 0;
    await atCalls(first, async (step) => {
      await writeSomething(place);
      const proxy = virshProxy(place.made.file(`proxy-${step}`), step, moment, 'kill -9 $PPID; exit 1');
      await shell.start(argumentsOf(place), { env: { PATH: proxy.path } }).finished;
      await writeSomething(place);
      const { notices, readBytes } = await place.commitExactly();
      for (const notice of notices)
        expect(notice).toMatch(/(did not come to its end|the branch has gone on since)$/);
      fromScratch += notices.length;
      if (notices.length === 0) expect(readBytes[0]).toBeLessThan(300_000);
      return proxy.commands();
    });
    // Between the version and the record of its checkpoint there are a few calls only.
    expect(fromScratch).toBeLessThan(4);
  },
);

test('imgstore commit --domain is right while the virsh of a killed one still begins its backup', async () => {
  const place = await DomainPlace.running(libvirt);
  const shell = await Workplace.create();
  await place.commitExactly();
  await writeSomething(place);
  const proxy = virshProxy(place.made.file('proxy'), 'backup-begin', 'before', 'kill -9 $PPID');
  await shell.start(argumentsOf(place), { env: { PATH: proxy.path } }).finished;
  await writeSomething(place);
  await place.commitExactly();
});

test('imgstore commit --domain tells what it has stored, as text and as JSON', async () => {
  const place = await DomainPlace.running(libvirt);
  const shell = await Workplace.create();
  expect(await shell.ok(...argumentsOf(place), '-m', 'running')).toMatch(
    /^\[vm[0-9a-f]{6} [0-9a-f]{12}\]\n {2}vda: 4 MiB, 256 clusters with data, 1 new, 1 MiB read\n/,
  );
  expect(await shell.json(...argumentsOf(place))).toMatchObject({
    branch: place.name,
    live: true,
    unchanged: true,
    disks: [{ name: 'vda' }],
  });
});

test('imgstore commit --domain leaves nothing in the domain when it is interrupted', async () => {
  const place = await DomainPlace.running(libvirt);
  const shell = await Workplace.create();
  await place.commitExactly();
  await writeSomething(place);
  // The backup has begun, and nothing is read yet.
  const act = 'kill -INT $PPID; sleep 0.2';
  const proxy = virshProxy(place.made.file('proxy'), 'backup-begin', 'after', act);
  const started = shell.start(argumentsOf(place), { env: { PATH: proxy.path } });
  const { status, stderr } = await started.finished;
  expect([status, stderr]).toEqual([130, 'imgstore: interrupted: nothing was changed\n']);
  await place.expectClean();
  expect(await place.commitExactly()).toMatchObject({ notices: [] });
});

test.each([
  [['commit', '--domain', 'x', 'vm.qcow2'], /leave out vm\.qcow2/],
  [['commit', '--domain', 'x', '--track'], /--track is for images, and has no meaning with --domain/],
  [['commit', '--domain', 'x', '--qmp', 'y'], /leave one out/],
  [['commit', '--domain', 'x', '--agent', 'y'], /libvirt knows the agent/],
  [['commit', '--connect', 'x', 'vm.qcow2'], /--connect is for machines of libvirt/],
  [['commit', '--no-freeze', 'vm.qcow2'], /--no-freeze is for machines of libvirt/],
  [['commit', '--qmp', 'x', '--connect', 'y'], /--connect is for machines of libvirt/],
])('imgstore %j exits with 2', async (args, message) => {
  const shell = await Workplace.withStore();
  const { status, stderr } = await shell.run(...args);
  expect(stderr).toMatch(message);
  expect(status).toBe(2);
});

test('imgstore commit --domain exits with 1 where virsh is not installed', async () => {
  const shell = await Workplace.withStore();
  const env = { PATH: shell.folder };
  const { status, stderr } = await shell.start(['commit', '--domain', 'x'], { env }).finished;
  expect([status, stderr]).toEqual([
    1,
    'imgstore: --domain asks libvirt through virsh, and that is not installed: install it (Debian: apt install libvirt-clients)\n',
  ]);
});
