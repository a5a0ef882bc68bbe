import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { listExports, NbdSource } from '../../../nbd/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { fileOf, nbdkit, nbdkitOnPort, qemuNbd } from '../serve.ts';

const LABEL = { label: 'nbd' };

async function open(path: string, exportName = '', contexts: readonly string[] = []): Promise<NbdSource> {
  const source = await NbdSource.open({ address: { path }, exportName }, { ...LABEL, contexts });
  onTestFinished(() => source.close());
  return source;
}

test('NbdSource.status tells the dirty bitmap of a qcow2 beside its allocation', async () => {
  const image = `${await temporaryFolder()}/web.qcow2`;
  await qemuImg('create', '-f', 'qcow2', image, '4M');
  await qemuIo(image, 'write -P 1 0 64k');
  await qemuImg('bitmap', '--add', image, 'changes');
  await qemuIo(image, 'write -P 2 1M 64k');
  const { socket } = await qemuNbd(image, '-f', 'qcow2', '-B', 'changes', '-x', 'web');
  const bitmap = 'qemu:dirty-bitmap:changes';
  const source = await open(socket, 'web', [bitmap, 'qemu:dirty-bitmap:other']);
  expect(source.contexts).toEqual(['base:allocation', bitmap]);
  const dirty = [];
  for await (const { offset, length, flags } of source.status(bitmap, 0, source.size)) {
    if (flags !== 0) dirty.push({ offset, length });
  }
  expect(dirty).toEqual([{ offset: 1 << 20, length: 65536 }]);
  const data = [];
  for await (const { offset, length, kind } of source.extents(0, source.size)) {
    if (kind === 'data') data.push({ offset, length });
  }
  expect(data).toEqual([
    { offset: 0, length: 65536 },
    { offset: 1 << 20, length: 65536 },
  ]);
});

test('listExports tells the exports of qemu-nbd, and NbdSource.open of one that is not there throws NOT_FOUND', async () => {
  const { socket } = await qemuNbd(
    await fileOf(new Uint8Array(512)),
    '-f',
    'raw',
    '-x',
    'a b',
    '-D',
    'a disk',
  );
  expect(await listExports({ path: socket }, LABEL)).toEqual([{ name: 'a b', description: 'a disk' }]);
  await expect(open(socket, 'other')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  expect((await open(socket, 'a b')).size).toBe(512);
});

test('NbdSource reads a disk of 8191 TiB in which there is nothing', async () => {
  const { socket } = await nbdkit('memory', 'size=8191T');
  const source = await open(socket);
  expect(source.size).toBe(8191 * 2 ** 40);
  let extents = 0;
  for await (const { kind } of source.extents(source.size - 2 ** 40, 2 ** 40)) {
    expect(kind).toBe('hole');
    extents++;
  }
  expect(extents).toBeLessThanOrEqual(300);
});

test('NbdSource reads what the pattern and sparse-random plugins hold', async () => {
  const pattern = await open((await nbdkit('pattern', 'size=10M')).socket);
  const bytes = Buffer.alloc(5_000_000);
  await pattern.read(1_000_000, bytes);
  for (let at = 0; at < bytes.length; at += 8) {
    expect(bytes.readBigUInt64BE(at)).toBe(BigInt(1_000_000 + at));
  }
  const sparse = await open((await nbdkit('sparse-random', 'size=64M', 'seed=1', 'percent=30')).socket);
  for await (const { offset, length, kind } of sparse.extents(0, sparse.size)) {
    const part = Buffer.alloc(Math.min(length, 65536));
    await sparse.read(offset, part);
    if (kind !== 'data') expect(part.every((byte) => byte === 0)).toBe(true);
  }
});

test('NbdSource.read gives an error of the server as it is, and goes on', async () => {
  const { socket } = await nbdkit(
    '--filter=error',
    'pattern',
    'size=1M',
    'error-pread=ENOSPC',
    'error-pread-rate=100%',
  );
  const source = await open(socket);
  for (let i = 0; i < 2; i++) {
    await expect(source.read(0, Buffer.alloc(512))).rejects.toMatchObject({
      code: 'NBD',
      message: 'nbd: the server failed the read at 0: no space left on the device',
    });
  }
});

test('NbdSource.open refuses an oldstyle server', async () => {
  const { socket } = await nbdkit('-o', 'memory', 'size=1M');
  await expect(open(socket)).rejects.toMatchObject({
    code: 'NBD',
    message: expect.stringContaining('oldstyle negotiation only'),
  });
});

test('NbdSource reads over TCP', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as { port: number };
  await new Promise((resolve) => holder.close(resolve));
  await nbdkitOnPort(port, 'pattern', 'size=1M');
  const address = { host: '127.0.0.1', port };
  const source = await NbdSource.open({ address, exportName: '' }, LABEL);
  onTestFinished(() => source.close());
  const bytes = Buffer.alloc(16);
  await source.read(4096, bytes);
  expect(bytes.readBigUInt64BE(8)).toBe(4104n);
});
