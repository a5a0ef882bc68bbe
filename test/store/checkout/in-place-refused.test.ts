import { chmod, link, mkdir, open, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { AUTOCLEAR_AT, INCOMPATIBLE_AT } from '../../../qcow2/meta/layout.ts';
import {
  checkoutInPlace,
  checkoutVersion,
  commitVersion,
  findDisk,
  readVersion,
  resolveCommit,
  type Store,
} from '../../../store/index.ts';
import { allClusters } from '../../../store/version/disk-source.ts';
import { qemuBytes, qemuCheck, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { commitBytes, newStore, SMALL } from '../new-store.ts';
import { qemuHolds } from '../qemu-holds.ts';

const DISK = diskOf([1, 0, 2, 3]);

/** A store with a version, a raw target and a qcow2 target that hold something else. */
async function targets() {
  const made = await newStore();
  await commitBytes(made, 'web', DISK);
  const raw = made.file('target.raw');
  await writeFile(raw, diskOf([4, 5, 6, 7]));
  const image = made.file('target.qcow2');
  await qemuImg('create', '-f', 'qcow2', image, String(DISK.length));
  await qemuIo(image, 'write -P 7 0 16k');
  const into = (output: string, format?: 'raw' | 'qcow2') =>
    checkoutInPlace(made.store, { revision: 'web', output, format });
  /** Fails unless a checkout is refused, and the file stays as it is. */
  const refused = async (output: string, code: string, part: string) => {
    const before = await readFile(output);
    const message = expect.stringContaining(part);
    await expect(into(output)).rejects.toMatchObject({ code, message });
    expect((await readFile(output)).equals(before), 'the file is as it was').toBe(true);
  };
  return { ...made, raw, image, into, refused };
}

/** Sets bits of a field of 64 bits in the header. */
async function setBits(path: string, at: number, bits: bigint): Promise<void> {
  const file = await open(path, 'r+');
  const field = Buffer.alloc(8);
  await file.read(field, 0, 8, at);
  field.writeBigUInt64BE(field.readBigUInt64BE() | bits);
  await file.write(field, 0, 8, at);
  await file.close();
}

test('checkoutInPlace throws NOT_FOUND when there is no file, and says how to make one', async () => {
  const { file, into } = await targets();
  await expect(into(file('no.raw'))).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `${file('no.raw')}: no such file or folder: leave out --in-place to make it`,
  });
});

test('checkoutInPlace throws BAD_IMAGE for a folder and for /dev/null', async () => {
  const { file, into } = await targets();
  await mkdir(file('folder'));
  for (const path of [file('folder'), '/dev/null'])
    await expect(into(path)).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: `${path}: is neither a file nor a block device`,
    });
});

test('checkoutInPlace throws IN_USE for a file that a QEMU has open, also by another name or for reading', async () => {
  const { raw, image, file, refused } = await targets();
  await qemuHolds(image, '-f', 'qcow2');
  await refused(image, 'IN_USE', 'is open in a running QEMU');
  await symlink(image, file('link.qcow2'));
  await refused(file('link.qcow2'), 'IN_USE', 'is open in a running QEMU');
  await link(image, file('hard.qcow2'));
  await refused(file('hard.qcow2'), 'IN_USE', 'is open in a running QEMU');
  await qemuHolds(raw, '-r', '-f', 'raw');
  await refused(raw, 'IN_USE', 'is open in a running QEMU');
});

test('checkoutInPlace throws IN_USE for a backing file that a QEMU writes to', async () => {
  const { image, file, refused } = await targets();
  await qemuImg('create', '-f', 'qcow2', '-b', 'target.qcow2', '-F', 'qcow2', file('top.qcow2'));
  await qemuHolds(image, '-f', 'qcow2');
  await refused(file('top.qcow2'), 'IN_USE', `${image}: a running QEMU has it open for writing`);
});

test('checkoutInPlace throws FORBIDDEN for the read-only files of a chain', async () => {
  const made = await targets();
  await commitBytes(made, 'web', diskOf([1, 9, 2, 3]));
  await mkdir(made.file('out'));
  const top = { revision: 'web', output: made.file('out/top.qcow2'), backing: 'chain' } as const;
  const { backing } = await checkoutVersion(made.store, top);
  await made.refused(
    made.file(`out/${backing}`),
    'FORBIDDEN',
    'is read-only, as files are that overlays stand on',
  );
  await chmod(made.file(`out/${backing}`), 0o644);
  await made.into(made.file(`out/${backing}`));
});

test('checkoutInPlace throws USAGE for a file of the store', async () => {
  const { path, refused } = await targets();
  await refused(`${path}/config`, 'USAGE', "is in the store's own folder");
});

test('checkoutInPlace throws UNSUPPORTED for a qcow2 of another size, and says how to resize it', async () => {
  const { image, refused, into } = await targets();
  await qemuImg('resize', '-q', image, '1M');
  await refused(image, 'UNSUPPORTED', `run qemu-img resize --shrink on it first, with ${DISK.length}`);
  await qemuImg('resize', '-q', '--shrink', image, String(SMALL));
  await refused(image, 'UNSUPPORTED', `run qemu-img resize on it first, with ${DISK.length}`);
  await qemuImg('resize', '-q', image, String(DISK.length));
  await into(image);
});

test('checkoutInPlace throws UNSUPPORTED for encrypted images and for external data files', async () => {
  const { image, file, refused } = await targets();
  const size = String(DISK.length);
  const key = ['--object', 'secret,id=key,data=123456'];
  const luks = 'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10';
  await qemuImg('create', ...key, '-f', 'qcow2', '-o', luks, image, size);
  await refused(image, 'UNSUPPORTED', 'is encrypted, and imgstore writes no encrypted images');
  await qemuImg('create', '-f', 'qcow2', '-o', `data_file=${file('data.raw')}`, image, size);
  await refused(image, 'UNSUPPORTED', 'keeps its data in an external data file');
});

test('checkoutInPlace throws UNSUPPORTED for a dirty bitmap that is kept up, and leaves one that is not', async () => {
  const { image, refused, into } = await targets();
  await qemuImg('bitmap', '--add', image, 'since');
  await refused(image, 'UNSUPPORTED', 'has the dirty bitmap "since", in which the changes would be missing');
  await qemuImg('bitmap', '--disable', image, 'since');
  await into(image);
  await qemuCheck(image);
  expect(
    JSON.parse(await qemuImg('info', '--output=json', image))['format-specific'].data.bitmaps,
  ).toMatchObject([{ name: 'since', flags: [] }]);
});

test('checkoutInPlace throws BAD_IMAGE for a damaged image, before it takes a cluster that is in use', async () => {
  const { image, refused } = await targets();
  const whole = await readFile(image);
  // The refcount block: all clusters count as free.
  const broken = Buffer.from(whole);
  const block = Number(broken.readBigUInt64BE(Number(broken.readBigUInt64BE(48))));
  broken.fill(0, block, block + 64);
  await writeFile(image, broken);
  await refused(image, 'BAD_IMAGE', 'run qemu-img check -r all on it first');
  for (const [bit, mark] of [
    [1n, 'is marked as not closed properly'],
    [2n, 'is marked as corrupt'],
  ] as const) {
    await writeFile(image, whole);
    await setBits(image, INCOMPATIBLE_AT, bit);
    await refused(image, 'BAD_IMAGE', mark);
  }
});

test('checkoutInPlace clears the marks by which a newer QEMU says that what it keeps in an image is up to date', async () => {
  const { image, into } = await targets();
  await setBits(image, AUTOCLEAR_AT, 1n << 40n);
  await into(image);
  expect((await readFile(image)).readBigUInt64BE(AUTOCLEAR_AT)).toBe(0n);
  expect((await qemuBytes(image)).equals(DISK)).toBe(true);
});

test('checkoutInPlace throws BAD_IMAGE for what looks like a qcow2 or a LUKS container by content only', async () => {
  const { image, file, refused, into } = await targets();
  await writeFile(file('disk.img'), await readFile(image));
  await refused(
    file('disk.img'),
    'BAD_IMAGE',
    'looks like a qcow2 by content only: pass --format qcow2 or --format raw',
  );
  await into(file('disk.img'), 'qcow2');
  await qemuCheck(file('disk.img'));
  await into(file('disk.img'), 'raw');
  expect((await readFile(file('disk.img'))).equals(DISK)).toBe(true);
  await writeFile(
    file('luks.img'),
    Buffer.concat([Buffer.from('LUKS\xba\xbe', 'latin1'), Buffer.alloc(5000)]),
  );
  await refused(
    file('luks.img'),
    'BAD_IMAGE',
    'looks like a LUKS container by content only: pass --format raw',
  );
});

test('checkoutInPlace throws BAD_IMAGE or UNSUPPORTED for files of other kinds', async () => {
  const { file, refused } = await targets();
  await qemuImg('create', '-f', 'vmdk', file('a.vmdk'), '1M');
  await refused(file('a.vmdk'), 'UNSUPPORTED', 'is a vmdk image, where only qcow2 and raw disks can be');
  await writeFile(file('notes.txt'), 'not a disk');
  await refused(file('notes.txt'), 'BAD_IMAGE', 'pass --format raw if it is a raw disk');
});

test('checkoutInPlace says that a file holds a part of the version when it fails half-way, and never takes it for one', async () => {
  const { raw, store, file } = await targets();
  await checkoutVersion(store, { revision: 'web', output: file('other.raw') });
  await writeFile(raw, Buffer.alloc(DISK.length, 1));
  // The clusters before it are written by then.
  const lost = await lastCluster(store);
  await rm(store.objects.loose.path(lost));
  await writeFile(store.objects.loose.path(lost), 'damaged');
  await expect(checkoutInPlace(store, { revision: 'web', output: raw })).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringContaining(
      `: ${raw} now holds a part of the version: see what 'imgstore fsck' says, then run`,
    ),
  });
  const commit = await commitVersion(store, { disks: [{ name: 'vda', path: raw }], branch: 'other' });
  expect(commit.disks[0]!.readBytes).toBeGreaterThan(0);
});

async function lastCluster(store: Store): Promise<string> {
  const disk = findDisk(readVersion(store.objects, await resolveCommit(store, 'web')), undefined);
  const ids: string[] = [];
  for await (const { id } of allClusters(store.objects, disk)) ids.push(id);
  return ids.at(-1)!;
}
