import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, copyFile, mkdir, open, readdir, symlink, truncate, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { type Outcome, type Running, sharedWorkplace } from '../cmd/imgstore.ts';
import { CLUSTER, disk, writeDisk } from '../cmd/sample.ts';
import { listStore } from '../cmd/store-files.ts';
import { noise } from '../objects/noise.ts';
import { qemuBytes } from '../qcow2/qemu.ts';
import { expectFailure, system } from './system.ts';

const MIB = 2 ** 20;
/** Where qemu-img puts what, in clusters: header, refcount table, refcount block, L1 table, L2 table, data. */
const LAYOUT = { refcountTable: 1, refcountBlock: 2, l1: 3, l2: 4, data: 5 } as const;

const place = sharedWorkplace(async (made) => {
  await made.ok('init');
  await writeDisk(made, 'good.raw', 1, 2);
  await made.ok('commit', 'good.raw');
  await writeFile(made.path('r'), noise(MIB, 1));
  system('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', made.path('r'), made.path('full.qcow2'));
});

/** Commits what must be refused: the store stays as it was, and nothing is left anywhere. */
async function refuses(part: string | RegExp, ...args: readonly string[]): Promise<Outcome> {
  const [store, folder] = [await listStore(place().path('.imgstore')), await readdir(place().folder)];
  const outcome = await place().run('commit', ...args);
  expectFailure(outcome, 1, part);
  expect(await listStore(place().path('.imgstore'))).toEqual(store);
  expect(await readdir(place().folder)).toEqual(folder);
  return outcome;
}

/** A copy of a good qcow2 with some bytes changed. */
async function patched(name: string, at: number, bytes: readonly number[]): Promise<string> {
  await copyFile(place().path('full.qcow2'), place().path(name));
  const file = await open(place().path(name), 'r+');
  await file.write(Buffer.from(bytes), 0, bytes.length, at);
  await file.close();
  return name;
}

test('commit refuses a file that is no image', async () => {
  await writeFile(place().path('notes.txt'), 'not an image\n'.repeat(100));
  await refuses('notes.txt: is not a disk image that imgstore knows: pass --format raw', 'notes.txt');
  await writeFile(place().path('a.vmdk'), 'COWD'.padEnd(1024, '\0'));
  await refuses('a.vmdk: is one extent of a VMDK', 'a.vmdk');
});

test('commit refuses an empty qcow2 and a file that is not there', async () => {
  await writeFile(place().path('empty.qcow2'), '');
  await refuses('empty.qcow2: ', 'empty.qcow2');
  await writeFile(place().path('empty'), '');
  await refuses('empty: ', 'empty');
  await refuses('missing.qcow2: no such file or folder', 'missing.qcow2');
});

test.each([
  ['in the magic', 3],
  ['in the header', 71],
  ['in the header of version 3', 103],
  ['behind the header', 110],
  ['before the L1 table', LAYOUT.l1 * CLUSTER],
  ['in the L1 table', LAYOUT.l1 * CLUSTER + 2],
  ['in the refcounts', LAYOUT.refcountBlock * CLUSTER + 8],
  ['before the refcounts', LAYOUT.refcountTable * CLUSTER],
  ['before the L2 table', LAYOUT.l2 * CLUSTER],
  ['in the L2 table', LAYOUT.l2 * CLUSTER + 60],
])('commit refuses a qcow2 that is cut off %s', async (_where, size) => {
  await copyFile(place().path('full.qcow2'), place().path('cut.qcow2'));
  await truncate(place().path('cut.qcow2'), size);
  await refuses('cut.qcow2: ', 'cut.qcow2');
});

test('commit reads a qcow2 that is cut off in its data as QEMU does, or refuses it', async () => {
  await copyFile(place().path('full.qcow2'), place().path('data.qcow2'));
  await truncate(place().path('data.qcow2'), LAYOUT.data * CLUSTER + 3 * CLUSTER + 512);
  const outcome = await place().run('commit', 'data.qcow2');
  if (outcome.status !== 0) return expectFailure(outcome, 1, 'data.qcow2: ');
  const seen = await qemuBytes(place().path('data.qcow2'));
  expect((await place().run('cat', 'data')).bytes.equals(seen)).toBe(true);
});

test.each([
  ['a wrong magic', 'magic.qcow2', 0, [0x51, 0x46, 0x49, 0x00], 'no qcow2 magic'],
  ['an unknown version', 'version.qcow2', 4, [0, 0, 0, 9], 'version'],
  ['an unknown incompatible bit', 'bit.qcow2', 72, [0, 0, 1, 0, 0, 0, 0, 0], 'needs a qcow2 feature'],
  ['encryption with LUKS', 'luks.qcow2', 32, [0, 0, 0, 2], /luks|LUKS|encrypted/],
  ['encryption with AES', 'aes.qcow2', 32, [0, 0, 0, 1], /aes|AES|encrypted/],
  ['clusters of 2^40', 'bits.qcow2', 20, [0, 0, 0, 40], /cluster/],
  ['an L1 table of 2^32 entries', 'l1.qcow2', 36, [0xff, 0xff, 0xff, 0xff], /l1_size/],
  ['a virtual size of 2^63', 'size.qcow2', 24, [0x80, 0, 0, 0, 0, 0, 0, 0], /size/],
  ['an L2 table at an odd offset', 'l2.qcow2', LAYOUT.l1 * CLUSTER, [0x80, 0, 0, 0, 0, 4, 2, 0], /L2/],
  [
    'a data cluster at an odd offset',
    'odd.qcow2',
    LAYOUT.l2 * CLUSTER,
    [0x80, 0, 0, 0, 0, 5, 2, 0],
    /offset/,
  ],
] as const)('commit refuses a qcow2 with %s', async (_what, name, at, bytes, part) => {
  await refuses(part, await patched(name, at, bytes));
});

test('commit refuses a compressed cluster that is damaged', async () => {
  const path = place().path('packed.qcow2');
  system('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', place().path('good.raw'), path);
  await writeFile(place().path('text.raw'), Buffer.alloc(4 * CLUSTER, 'some text that becomes shorter '));
  system('qemu-img', 'convert', '-c', '-f', 'raw', '-O', 'qcow2', place().path('text.raw'), path);
  const file = await open(path, 'r+');
  await file.write(Buffer.alloc(64, 0xff), 0, 64, LAYOUT.data * CLUSTER);
  await file.close();
  await refuses('packed.qcow2: ', 'packed.qcow2');
});

test('commit refuses backing files that are missing, loop, or are the image itself', async () => {
  const create = (name: string, backing: string) =>
    system(
      'qemu-img',
      'create',
      '-q',
      '-u',
      '-f',
      'qcow2',
      '-b',
      backing,
      '-F',
      'qcow2',
      place().path(name),
      '1M',
    );
  create('orphan.qcow2', 'gone.qcow2');
  await refuses(
    /orphan\.qcow2: its backing file "gone\.qcow2" does not exist: put it there again, or say with --stored-base what it held$/,
    'orphan.qcow2',
  );
  create('a.qcow2', 'b.qcow2');
  create('b.qcow2', 'a.qcow2');
  await refuses(/it is a loop/, 'a.qcow2');
  create('self.qcow2', 'self.qcow2');
  await refuses(/it is a loop/, 'self.qcow2');
});

test.each([
  ['/etc/passwd', 'raw'],
  ['../outside.qcow2', 'qcow2'],
  ['sub/../../outside.qcow2', 'qcow2'],
  ['link.raw', 'raw'],
  ['folder-link/passwd', 'raw'],
  ['json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}', 'raw'],
  ['nbd://localhost/x', 'raw'],
  ['file:/etc/passwd', 'raw'],
])('commit does not follow the backing file name %s', async (name, format) => {
  await mkdir(place().path('sub'), { recursive: true });
  await symlink('/etc/passwd', place().path('link.raw')).catch(() => {});
  await symlink('/etc', place().path('folder-link')).catch(() => {});
  system(
    'qemu-img',
    'create',
    '-q',
    '-u',
    '-f',
    'qcow2',
    '-b',
    name,
    '-F',
    format,
    place().path('evil.qcow2'),
    '1M',
  );
  const { stdout } = await place().run('commit', 'evil.qcow2', '--json');
  expect(JSON.parse(stdout).error.code).toBe('FORBIDDEN');
  await refuses('evil.qcow2: its backing file ', 'evil.qcow2');
});

test('commit does not follow names in an image that is qcow2 by content only', async () => {
  const guest = place().path('guest.img');
  system('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b', '/etc/passwd', '-F', 'raw', guest, '1M');
  await refuses('guest.img: looks like qcow2 by content only', 'guest.img');
});

test('commit refuses folders, pipes and devices that are no disks', async () => {
  await mkdir(place().path('folder.qcow2'));
  await refuses('folder.qcow2: is a folder', 'folder.qcow2');
  system('mkfifo', place().path('pipe.raw'));
  await refuses('pipe.raw: is a pipe', 'pipe.raw');
  await refuses('/dev/null: is a character device', '/dev/null');
  await refuses('/dev/zero: is a character device', '/dev/zero', '--format', 'raw');
});

test('commit refuses an image that a running QEMU writes to, unless it is told to share', async () => {
  await copyFile(place().path('full.qcow2'), place().path('live.qcow2'));
  const qemu = spawn('qemu-io', ['-f', 'qcow2', place().path('live.qcow2')], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  onTestFinished(() => void qemu.kill());
  qemu.stdin.write('read 0 512\n');
  await once(qemu.stdout, 'data');
  await refuses('live.qcow2: a running QEMU has it open for writing', 'live.qcow2');
  const compared = await place().run('compare', 'good', 'live.qcow2');
  expectFailure(compared, 2, 'a running QEMU has it open for writing');
  await place().ok('commit', 'live.qcow2', '--force-share');
  qemu.stdin.end('quit\n');
  await once(qemu, 'exit');
  expect((await place().run('compare', 'live', 'live.qcow2')).status).toBe(0);
});

/** Waits until a run has read so much that it writes. */
async function packBegins({ child }: Running): Promise<void> {
  while (child.exitCode === null) {
    if ((await readdir(place().path('.imgstore/objects/pack'))).length > 0) return;
    await sleep(2);
  }
}

test('commit refuses an image that changes while it is read', async () => {
  const path = place().path('moving.raw');
  await writeFile(path, '');
  for (let i = 0; i < 100; i++) await appendFile(path, noise(MIB, i));
  const before = await listStore(place().path('.imgstore'));
  const running = place().start(['commit', 'moving.raw']);
  await packBegins(running);
  const file = await open(path, 'r+');
  await file.write(disk(99), 0, CLUSTER, 50 * MIB);
  await file.close();
  expectFailure(await running.finished, 1, 'moving.raw: changed while it was read');
  expect(await listStore(place().path('.imgstore'))).toEqual(before);

  const shrinking = place().start(['commit', 'moving.raw']);
  await packBegins(shrinking);
  await truncate(path, MIB);
  const outcome = await shrinking.finished;
  expectFailure(outcome, 1, /moving\.raw: (changed|became shorter) while it was read/);
  expect(await listStore(place().path('.imgstore'))).toEqual(before);
});
