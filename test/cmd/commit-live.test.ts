import { expect, test } from 'vitest';
import { atCommands, RUNS } from '../store/live/each-command.ts';
import { LivePlace } from '../store/live/place.ts';
import { startProxy } from '../store/live/proxy.ts';
import { writeSomething } from '../store/live/steps.ts';
import { Workplace } from './imgstore.ts';

test.each(RUNS)(
  'imgstore commit --qmp is right after it was killed %s QEMU did a command, from %i on',
  async (moment, first) => {
    const place = await LivePlace.create();
    const machine = await place.start();
    const shell = await Workplace.create();
    await place.commitExactly(machine);
    let fromScratch = 0;
    await atCommands(place, first, async (step) => {
      await writeSomething(machine);
      const path = place.made.file(`proxy-${step}-${moment}`);
      const proxy = await startProxy(path, machine.qmp, step, moment, async () => {
        running.child.kill('SIGKILL');
        await running.finished;
      });
      const running = shell.start(['--store', place.made.path, 'commit', '--qmp', path, '-b', 'vm']);
      await running.finished;
      await writeSomething(machine);
      const { notices, readBytes } = await place.commitExactly(machine);
      for (const notice of notices) expect(notice).toMatch(/the branch has gone on since$/);
      fromScratch += notices.length;
      if (notices.length === 0) expect(readBytes[0]).toBeLessThan(100_000);
      return proxy;
    });
    // Between the version and its bitmap there are a few commands only.
    expect(fromScratch).toBeLessThan(10);
  },
);

test('imgstore commit --qmp is right after it was killed while QEMU served its disks, and another machine was committed then', async () => {
  const [place, other] = [await LivePlace.create(), await LivePlace.create()];
  const [machine, another] = [await place.start(), await other.start()];
  await place.commitExactly(machine);
  await writeSomething(machine);
  const path = place.made.file('proxy');
  await startProxy(path, machine.qmp, 'nbd-server-start', 'after', async () => {
    running.child.kill('SIGKILL');
    await running.finished;
  });
  const shell = await Workplace.create();
  const running = shell.start(['--store', place.made.path, 'commit', '--qmp', path, '-b', 'vm']);
  expect((await running.finished).signal).toBe('SIGKILL');
  // It looks for what killed commits have left in the folder that all share.
  await other.commitExactly(another);
  await place.commitExactly(machine);
  expect(place.scratch()).toEqual([]);
});

test('imgstore commit --qmp tells what it has stored, as text and as JSON', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  const shell = await Workplace.create();
  const args = ['--store', place.made.path, 'commit', '--qmp', machine.qmp, '-m', 'running'];
  expect(await shell.ok(...args)).toMatch(
    /^\[vm [0-9a-f]{12}\]\n {2}vda: 4 MiB, 256 clusters with data, 1 new, /,
  );
  expect(await shell.json(...args)).toMatchObject({
    branch: 'vm',
    live: true,
    unchanged: true,
    disks: [{ name: 'vda' }],
  });
  const log = await shell.ok('--store', place.made.path, 'log', '--oneline');
  expect(log).toMatch(/running\n$/);
});

test.each([
  [['commit', '--qmp', 'x', 'vm.qcow2'], /leave out vm\.qcow2/],
  [['commit', '--qmp', 'x', '--track'], /--track is for images/],
  [['commit', '--node', 'x', 'vm.qcow2'], /--node is for machines that run/],
  [['commit', '--qmp', ''], /empty/],
])('imgstore %j exits with 2', async (args, message) => {
  const shell = await Workplace.withStore();
  const { status, stderr } = await shell.run(...args);
  expect(stderr).toMatch(message);
  expect(status).toBe(2);
});

test('imgstore commit --qmp exits with 1 when there is no such socket', async () => {
  const shell = await Workplace.withStore();
  const { status, stderr } = await shell.run('commit', '--qmp', 'nowhere');
  expect(stderr).toBe(
    'imgstore: nowhere: no such socket: does the machine run, with -qmp unix:PATH,server=on,wait=off?\n',
  );
  expect(status).toBe(1);
});

test('imgstore commit --qmp takes a folder for scratch files as it is named from where it runs', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  const shell = await Workplace.create();
  await shell.ok('--store', place.made.path, 'commit', '--qmp', machine.qmp, '--scratch', '.');
});

test('imgstore commit --qmp leaves nothing in the machine when it is interrupted', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  const shell = await Workplace.create();
  await place.commitExactly(machine);
  await writeSomething(machine);
  const path = place.made.file('proxy');
  const args = ['--store', place.made.path, 'commit', '--qmp', path, '-b', 'vm'];
  // The transaction is made, and nothing read yet.
  await startProxy(path, machine.qmp, 'nbd-server-start', 'before', async () => {
    running.child.kill('SIGINT');
    await new Promise((resolve) => setTimeout(resolve, 200));
  });
  const running = shell.start(args);
  const { status, stderr } = await running.finished;
  expect([status, stderr]).toEqual([130, 'imgstore: interrupted: nothing was changed\n']);
  await machine.expectClean();
  expect(place.scratch()).toEqual([]);
  expect(await place.commitExactly(machine)).toMatchObject({ notices: [] });
});
