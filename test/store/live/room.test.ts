import { expect, test } from 'vitest';
import { smallFolder } from '../../block/small-folder.ts';
import { qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { LivePlace } from './place.ts';
import { startProxy } from './proxy.ts';

test('commitMachine gives up before the folder for scratch files is full, and the guest’s writes do not fail', async (context) => {
  const place = await LivePlace.create(['vm'], '-o', 'cluster_size=2M');
  const [image] = place.images;
  const scratch = smallFolder(place.made.file('scratch'), '96M');
  if (scratch === undefined) return context.skip('no file system can be mounted here');
  await qemuImg('resize', '-q', image!, '64M');
  await qemuIo(image!, 'write -P 5 0 48M');
  const machine = await place.start();
  const path = place.made.file('proxy');
  // The guest overwrites 40 MiB when the disk is held and before it is read.
  const proxy = await startProxy(path, machine.qmp, 'nbd-server-start', 'before', async () => {
    await machine.io(0, 'write -P 6 0 40M');
    await new Promise((resolve) => setTimeout(resolve, 500));
  });
  const before = await machine.bitmaps();
  await expect(place.commit({ qmp: proxy.path }, { scratch })).rejects.toMatchObject({
    code: 'IO',
    data: { path: expect.any(String), free: expect.any(Number) },
  });
  await machine.expectClean();
  expect(await machine.bitmaps()).toEqual(before);
  // With room it succeeds.
  await place.commitExactly(machine);
});

test('commitMachine refuses a folder for scratch files that has no room', async (context) => {
  const place = await LivePlace.create();
  const scratch = smallFolder(place.made.file('scratch'), '16M');
  if (scratch === undefined) return context.skip('no file system can be mounted here');
  const machine = await place.start();
  await expect(place.commit(machine, { scratch })).rejects.toMatchObject({ code: 'IO' });
  await machine.expectClean();
  await place.commitExactly(machine);
});
