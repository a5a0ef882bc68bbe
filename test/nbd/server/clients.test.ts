import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { RawFile } from '../../../block/index.ts';
import { listExports, type NbdExport, type NbdExports } from '../../../nbd/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { qemuBytes, qemuImg } from '../../qcow2/qemu.ts';
import { fileOf } from '../serve.ts';
import { holeyBytes, MemoryDisk, patterned, serve } from './memory-disk.ts';

const execute = promisify(execFile);
const run = async (command: string, ...args: readonly string[]) => (await execute(command, args)).stdout;

/** Runs commands of qemu-io on an export, and fails when one of them does. */
async function qemuIo(uri: string, ...commands: readonly string[]): Promise<string> {
  const out = await run('qemu-io', ...commands.flatMap((each) => ['-c', each]), '-f', 'raw', uri);
  if (/failed|error/i.test(out)) throw new Error(out);
  return out;
}

test('NbdServer tells nbdinfo what an export is and can do', async () => {
  const { uri } = await serve(new MemoryDisk(holeyBytes()));
  const { exports, protocol, structured } = JSON.parse(await run('nbdinfo', '--json', uri()));
  expect({ protocol, structured }).toEqual({ protocol: 'newstyle-fixed', structured: true });
  expect(exports).toHaveLength(1);
  expect(exports[0]).toMatchObject({
    'export-name': 'disk',
    description: 'in memory',
    'export-size': 1 << 20,
    contexts: ['base:allocation'],
    is_read_only: false,
    can_cache: true,
    can_df: true,
    can_fast_zero: true,
    can_flush: true,
    can_fua: true,
    can_multi_conn: true,
    can_trim: true,
    can_zero: true,
    block_size_minimum: 1,
    block_size_preferred: 65536,
    block_size_maximum: 32 * 1024 * 1024,
  });
});

test('NbdServer offers no changes of a disk that is read-only', async () => {
  const { uri } = await serve(new MemoryDisk(holeyBytes(), { readOnly: true }));
  const { exports } = JSON.parse(await run('nbdinfo', '--json', uri()));
  expect(exports[0]).toMatchObject({ is_read_only: true, can_flush: false, can_fua: false });
  expect(exports[0]).toMatchObject({ can_trim: false, can_zero: false, can_fast_zero: false });
});

test('NbdServer lists its exports to nbdinfo and to listExports', async () => {
  const names = Array.from({ length: 40 }, (_, i) => `disk ${i} ß`);
  const exports: NbdExports = {
    async *list() {
      for (const name of names) yield { name, description: `about ${name}` };
    },
    open: async (name) => (names.includes(name) ? new MemoryDisk(Buffer.alloc(4096), { name }) : undefined),
  };
  const { uri, socket } = await serve(exports);
  const listed = JSON.parse(await run('nbdinfo', '--list', '--json', uri('')));
  expect(listed.exports.map((each: Record<string, string>) => each['export-name'])).toEqual(names);
  expect(await listExports({ path: socket }, { label: 'nbd' })).toEqual(
    names.map((name) => ({ name, description: `about ${name}` })),
  );
  await expect(run('nbdinfo', uri('other'))).rejects.toThrow('No such file');
});

test('NbdServer tells nbdinfo and qemu-img where data and holes are', async () => {
  const { uri } = await serve(new MemoryDisk(holeyBytes()));
  const map = JSON.parse(await run('nbdinfo', '--map', '--json', uri()));
  const wanted = [
    [0, 256, 0],
    [256, 256, 3],
    [512, 88, 0],
    [600, 4, 3],
    [604, 420, 0],
  ];
  expect(
    map.map(({ offset, length, type }: Record<string, number>) => [offset! / 1024, length! / 1024, type]),
  ).toEqual(wanted);
  const seen = JSON.parse(await qemuImg('map', '--output=json', '-f', 'raw', uri()));
  expect(
    seen.map(({ start, length, zero }: Record<string, number>) => [start! / 1024, length! / 1024, zero]),
  ).toEqual(wanted.map(([start, length, type]) => [start, length, type === 3]));
});

test('NbdServer gives nbdcopy the bytes of a file, in requests of any size', async () => {
  const bytes = Buffer.concat([holeyBytes(), patterned(3_000_001), Buffer.alloc(2_000_000)]);
  const path = await fileOf(bytes);
  const { uri } = await serve({
    async *list() {},
    open: async () => fileExport(await RawFile.open(path)),
  });
  for (const options of [
    [],
    ['--no-extents'],
    ['--request-size=4096'],
    ['--request-size=33554432'],
    ['-C', '1'],
  ]) {
    const out = join(await temporaryFolder(), 'out');
    await run('nbdcopy', ...options, uri(), out);
    expect((await readFile(out)).equals(bytes)).toBe(true);
  }
});

function fileExport(file: RawFile): NbdExport {
  return {
    name: 'file',
    size: file.size,
    readOnly: true,
    blockSize: { minimum: 1, preferred: 4096, maximum: 2 ** 32 - 1 },
    multiConnection: true,
    read: (offset, into) => file.read(offset, into),
    extents: (offset, length) => file.extents(offset, length),
    release: () => file.close(),
  };
}

test('NbdServer takes what nbdcopy writes, and punches what it leaves out', async () => {
  const bytes = Buffer.concat([holeyBytes(), patterned(5_000_000)]);
  const disk = new MemoryDisk(patterned(bytes.length));
  const { uri } = await serve(disk);
  await run('nbdcopy', '--flush', await fileOf(bytes), uri());
  expect(disk.bytes.equals(bytes)).toBe(true);
  expect(disk.calls.some((call) => call.startsWith('zero'))).toBe(true);
  expect(disk.calls).toContain('flush');
});

test('NbdServer and qemu-img agree on a disk: info, convert both ways, compare', async () => {
  const bytes = holeyBytes();
  const disk = new MemoryDisk(bytes);
  const { uri } = await serve(disk);
  expect(JSON.parse(await qemuImg('info', '--output=json', uri()))['virtual-size']).toBe(bytes.length);
  const image = join(await temporaryFolder(), 'out.qcow2');
  await qemuImg('convert', '-f', 'raw', '-O', 'qcow2', uri(), image);
  expect((await qemuBytes(image)).equals(bytes)).toBe(true);
  expect(await qemuImg('compare', '-f', 'qcow2', '-F', 'raw', image, uri())).toContain('identical');
  const other = new MemoryDisk(patterned(bytes.length));
  const target = await serve(other);
  await qemuImg('convert', '-n', '-f', 'qcow2', '-O', 'raw', image, target.uri());
  expect(other.bytes.equals(bytes)).toBe(true);
});

test('NbdServer does what qemu-io asks for: writes, zeros, discards, flushes', async () => {
  const disk = new MemoryDisk(patterned(1 << 20));
  const { uri } = await serve(disk);
  await qemuIo(uri(), 'write -P 7 4k 100k', 'read -P 7 4k 100k', 'flush');
  expect(disk.bytes.subarray(4096, 4096 + 102400).every((byte) => byte === 7)).toBe(true);
  await qemuIo(uri(), 'write -z 64k 64k', 'read -P 0 64k 64k');
  await qemuIo(
    uri(),
    'write -z -u 256k 64k',
    'discard 512k 64k',
    'read -P 0 512k 64k',
    'write -f -P 9 0 512',
  );
  expect(disk.calls).toContain('zero 65536 65536');
  expect(disk.calls).toContain('zero 262144 65536 punch');
  expect(disk.calls).toContain('trim 524288 65536');
  const fua = disk.calls.indexOf('write 0 512');
  expect(disk.calls.slice(fua, fua + 2)).toEqual(['write 0 512', 'flush']);
  const map = JSON.parse(await qemuImg('map', '--output=json', '-f', 'raw', uri()));
  expect(map).toContainEqual(
    expect.objectContaining({ start: 65536, length: 65536, zero: true, data: true }),
  );
  expect(map).toContainEqual(
    expect.objectContaining({ start: 262144, length: 65536, zero: true, data: false }),
  );
});

test('NbdServer serves many requests of qemu-io and qemu-img bench at a time', async () => {
  const disk = new MemoryDisk(patterned(4 << 20));
  const { uri } = await serve(disk);
  const reads = Array.from({ length: 100 }, (_, i) => `aio_read ${(i * 37_376) % (3 << 20)} ${1 + i}k`);
  await qemuIo(uri(), ...reads, 'aio_flush');
  await qemuImg('bench', '-f', 'raw', '-c', '2000', '-d', '64', '-s', '4096', uri());
  await qemuImg('bench', '-f', 'raw', '-w', '-c', '500', '-d', '64', '-s', '65536', '-S', '4096', uri());
});

test('NbdServer refuses writes of qemu-io to a read-only disk', async () => {
  const bytes = patterned(1 << 20);
  const disk = new MemoryDisk(bytes, { readOnly: true });
  const { uri } = await serve(disk);
  await expect(qemuIo(uri(), 'write 0 4k')).rejects.toThrow();
  await qemuIo(uri(), 'read 0 4k').catch(() => {});
  expect(disk.bytes.equals(bytes)).toBe(true);
});

test('NbdServer keeps to blocks of 512 with clients that ask for smaller pieces', async () => {
  const blockSize = { minimum: 512, preferred: 4096, maximum: 65536 };
  const disk = new MemoryDisk(patterned(1 << 20), { blockSize });
  const { uri } = await serve(disk);
  await qemuIo(uri(), 'write -P 5 1000 3000', 'read -P 5 1000 3000');
  expect(disk.bytes.subarray(1000, 4000).every((byte) => byte === 5)).toBe(true);
});
