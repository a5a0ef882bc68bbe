import { readdirSync, statSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openImage } from '../../../qcow2/index.ts';
import { checkoutSnapshots, checkoutVersion, commitVersion, importImage } from '../../../store/index.ts';
import { qemuBytes, qemuCheck, qemuImg, qemuIo, readAll } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { commitBytes, newStore, SMALL, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';

const DISKS = [
  diskOf([1, 2, 3, 0, 1]),
  diskOf([1, 9, 3, 4, 0, 6]),
  diskOf([0, 0, 0]),
  // Larger, and ending within a cluster.
  diskOf([6, 9, 3, 4, 0, 6, 1, 1, 2], SMALL, 512),
];

async function history(made: TestStore): Promise<string[]> {
  for (const disk of DISKS) await commitBytes(made, 'web', disk, { allowEmpty: true });
  return DISKS.map((_, i) => `web~${DISKS.length - 1 - i}`);
}

/** A disk as long as another, with zeros behind its end: QEMU gives `convert -l` the length of the present state. */
function resized(disk: Buffer, length: number): Buffer {
  return Buffer.concat([disk, Buffer.alloc(Math.max(0, length - disk.length))]).subarray(0, length);
}

/** What QEMU finds in a snapshot. */
async function snapshotBytes(made: TestStore, image: string, name: string): Promise<Buffer> {
  const out = made.file('snapshot.qcow2');
  await qemuImg('convert', '-l', `snapshot.name=${name}`, '-O', 'qcow2', image, out);
  return qemuBytes(out);
}

describe.each([undefined, 'web~3', 'web~1'])('with %s as the active state', (active) => {
  test('checkoutSnapshots writes each version as a snapshot that QEMU reads, and stores what is equal once', async () => {
    const made = await newStore();
    const revisions = await history(made);
    const output = made.file('all.qcow2');
    const result = await checkoutSnapshots(made.store, { revisions, active, output });
    await qemuCheck(output);
    const list = JSON.parse(await qemuImg('info', '--output=json', output)).snapshots;
    expect(list.map(({ id, name }: { id: string; name: string }) => [id, name])).toEqual(
      revisions.map((name, i) => [String(i + 1), name]),
    );
    const present = DISKS[active === undefined ? 3 : revisions.indexOf(active)]!;
    for (const [i, name] of revisions.entries()) {
      const expected = resized(DISKS[i]!, present.length);
      expect((await snapshotBytes(made, output, name)).equals(expected), name).toBe(true);
      const { source } = await openImage(output, { snapshot: name });
      expect((await readAll(source)).equals(DISKS[i]!), name).toBe(true);
      await source.close();
    }
    expect((await qemuBytes(output)).equals(present)).toBe(true);
    // Of the noise of seeds 2, 3, 4 and 9 each once, of 1 and 6 as often as a disk has them, and the end of a cluster of seed 2 that is cut off.
    expect(result.writtenBytes).toBe(8 * SMALL + SMALL - 512);
  });
});

test('checkoutSnapshots makes an image to which a guest writes, and whose snapshots can be applied and removed', async () => {
  const made = await newStore();
  const revisions = await history(made);
  const output = made.file('all.qcow2');
  await checkoutSnapshots(made.store, { revisions, output });
  await qemuIo(output, 'write -P 7 0 12k', 'discard 16k 8k');
  await qemuCheck(output);
  for (const [i, name] of revisions.entries()) {
    const expected = resized(DISKS[i]!, DISKS[3]!.length);
    expect((await snapshotBytes(made, output, name)).equals(expected), name).toBe(true);
  }
  await qemuImg('snapshot', '-a', 'web~2', output);
  expect((await qemuBytes(output)).equals(DISKS[1]!)).toBe(true);
  for (const name of revisions) await qemuImg('snapshot', '-d', name, output);
  await qemuCheck(output);
  expect((await qemuBytes(output)).equals(DISKS[1]!)).toBe(true);
});

test('checkoutSnapshots writes a cluster as often as a disk has it, so that the file can be committed and imported', async () => {
  const made = await newStore();
  const disk = Buffer.alloc(400 * SMALL, 7);
  await commitBytes(made, 'web', disk.subarray(0, 200 * SMALL));
  await commitBytes(made, 'web', disk);
  const output = made.file('all.qcow2');
  const result = await checkoutSnapshots(made.store, { revisions: ['web~1', 'web'], output });
  expect(result.writtenBytes).toBe(disk.length);
  await qemuCheck(output);
  const other = await newStore();
  const imported = await importImage(other.store, { path: output, branch: 'web', tagPrefix: 'all/' });
  expect(imported).toHaveLength(3);
  expect((await readBack(other.store, 'web')).equals(disk)).toBe(true);
  await qemuImg('snapshot', '-a', 'web', output);
  await qemuCheck(output);
  expect((await snapshotBytes(made, output, 'web')).equals(disk)).toBe(true);
});

test('checkoutSnapshots remembers which version the file holds', async () => {
  const made = await newStore();
  const revisions = await history(made);
  const output = made.file('all.qcow2');
  await checkoutSnapshots(made.store, { revisions, output });
  const again = await commitVersion(made.store, { disks: [{ name: 'vda', path: output }], branch: 'web' });
  expect(again).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
});

test('checkoutSnapshots throws for what it cannot write, and leaves no file', async () => {
  const made = await newStore();
  await history(made);
  const output = made.file('all.qcow2');
  const before = readdirSync(made.file('.'));
  const fails = (request: object, code: string) =>
    expect(checkoutSnapshots(made.store, { revisions: ['web'], output, ...request })).rejects.toMatchObject({
      code,
    });
  await fails({ revisions: ['web', 'web~1', 'web'] }, 'USAGE');
  await fails({ revisions: ['web', 'nothing'] }, 'NOT_FOUND');
  await fails({ active: 'web~1' }, 'USAGE');
  await fails({ revisions: Array.from({ length: 2 ** 15 }, (_, i) => `web~${i}`) }, 'USAGE');
  await fails({ output: made.file('all.raw') }, 'USAGE');
  await fails({ active: 'nothing' }, 'NOT_FOUND');
  await fails({ disk: 'vdz' }, 'NOT_FOUND');
  await fails({ output: made.file('no/such.qcow2') }, 'NOT_FOUND');
  expect(readdirSync(made.file('.'))).toEqual(before);
  await checkoutVersion(made.store, { revision: 'web', output });
  const { ino } = statSync(output);
  await fails({}, 'EXISTS');
  expect(statSync(output).ino).toBe(ino);
  await checkoutSnapshots(made.store, { revisions: ['web'], output, force: true });
  await qemuCheck(output);
});
