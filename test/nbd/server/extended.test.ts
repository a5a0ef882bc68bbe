import { expect, test } from 'vitest';
import { type NbdExport, NbdSource } from '../../../nbd/index.ts';
import { bytes, u16, u32, u64 } from '../client/fake-server.ts';
import { holeyBytes, MemoryDisk, patterned, serve } from './memory-disk.ts';
import { goData, metaData, option, RawClient, request } from './raw-client.ts';

/** Numbers of the specification. */
const [EXPORT_NAME, GO, STRUCTURED, SET_META, EXTENDED] = [1, 7, 8, 10, 11] as const;
const [READ, WRITE, TRIM, ZERO, STATUS] = [0, 1, 4, 6, 7] as const;
const [FUA, PAYLOAD_LEN] = [1, 32];
const [EPERM, EINVAL, ENOSPC, EOVERFLOW] = [1, 22, 28, 75];
const TIB = 2 ** 40;

const extended = (
  command: number,
  offset: number | bigint,
  length: number | bigint,
  { flags = 0, payload = Buffer.alloc(0) as Uint8Array } = {},
) => bytes(u32(0x21e41c71), u16(flags), u16(command), u64(7), u64(offset), u64(length), payload);

interface ExtendedReply {
  readonly type: number;
  readonly done: boolean;
  readonly offset: bigint;
  readonly error: number;
  readonly data: Buffer;
}

/** A client that has agreed on extended headers and `base:allocation`. */
class ExtendedClient extends RawClient {
  static async enter(socket: string): Promise<ExtendedClient> {
    const client = await new ExtendedClient(socket).greet();
    for (const [number, data] of [
      [EXTENDED, undefined],
      [SET_META, metaData('disk', 'base:allocation')],
      [GO, goData('disk')],
    ] as const)
      expect((await client.option(number, data)).at(-1)!.type).toBe(1);
    return client;
  }

  async chunk(): Promise<ExtendedReply> {
    const head = await this.read(32);
    expect([head.readUInt32BE(0), head.readBigUInt64BE(8)]).toEqual([0x6e8a278c, 7n]);
    const [type, offset] = [head.readUInt16BE(6), head.readBigUInt64BE(16)];
    const data = Buffer.from(await this.read(Number(head.readBigUInt64BE(24))));
    const error = (type & 0x8000) === 0 ? 0 : data.readUInt32BE(0);
    return { type, done: head.readUInt16BE(4) === 1, offset, error, data };
  }

  async askFor(...args: Parameters<typeof extended>): Promise<readonly ExtendedReply[]> {
    this.send(extended(...args));
    const chunks: ExtendedReply[] = [];
    do chunks.push(await this.chunk());
    while (!chunks.at(-1)!.done);
    expect(new Set(chunks.map(({ offset }) => offset))).toEqual(new Set([BigInt(args[1])]));
    return chunks;
  }
}

/** A disk of a terabyte of zeros, which only counts. */
function vast(calls: string[]): NbdExport {
  return {
    ...{ name: 'disk', size: TIB, readOnly: false, multiConnection: true },
    blockSize: { minimum: 1, preferred: 65536, maximum: 32 * 2 ** 20 },
    read: async (_, into) => void into.fill(0),
    async *extents(offset, length) {
      yield { offset, length, kind: 'hole' };
    },
    write: async () => {},
    zero: async (offset, length) => void calls.push(`zero ${offset} ${length}`),
    trim: async (offset, length) => void calls.push(`trim ${offset} ${length}`),
    flush: async () => {},
    release: async () => {},
  };
}

test('NbdServer reads and writes with extended headers, wherever the requests are cut', async () => {
  const disk = new MemoryDisk(holeyBytes());
  const client = await ExtendedClient.enter((await serve(disk)).socket);
  const kib = 1024;
  const chunks = await client.askFor(READ, 192 * kib, 128 * kib);
  expect(chunks.map(({ type }) => type)).toEqual([1, 2]);
  expect(chunks[0]!.data.readBigUInt64BE(0)).toBe(BigInt(192 * kib));
  expect(chunks[0]!.data.subarray(8).equals(disk.bytes.subarray(192 * kib, 256 * kib))).toBe(true);
  expect(chunks[1]!.data).toEqual(bytes(u64(256 * kib), u32(64 * kib)));
  const payload = patterned(5000);
  const write = extended(WRITE, 1001, 5000, { flags: PAYLOAD_LEN | FUA, payload });
  for (const step of [1, 7, 31, 33, 5000]) {
    for (let at = 0; at < write.length; at += step) client.send(write.subarray(at, at + step));
    expect(await client.chunk()).toMatchObject({ type: 0, done: true, offset: 1001n });
    expect(disk.bytes.subarray(1001, 6001).equals(payload)).toBe(true);
    disk.bytes.fill(9, 1001, 6001);
  }
  // As libnbd sends it when it is told to check nothing.
  expect((await client.askFor(WRITE, 0, 100, { payload: payload.subarray(0, 100) }))[0]!.error).toBe(0);
  expect((await client.askFor(READ, 0, 100))[0]!.data.subarray(8).equals(payload.subarray(0, 100))).toBe(
    true,
  );
});

test('NbdServer zeros, trims and tells of more than 4 GiB in one request', async () => {
  const calls: string[] = [];
  const client = await ExtendedClient.enter((await serve(vast(calls))).socket);
  expect((await client.askFor(ZERO, 1, TIB - 1))[0]).toMatchObject({ type: 0, error: 0 });
  expect((await client.askFor(TRIM, 2 ** 33, 2 ** 39))[0]).toMatchObject({ type: 0, error: 0 });
  expect(calls).toEqual([`zero 1 ${TIB - 1}`, `trim ${2 ** 33} ${2 ** 39}`]);
  const [status] = await client.askFor(STATUS, 512, TIB - 512);
  expect(status!.type).toBe(6);
  expect(status!.data).toEqual(bytes(u32(1), u32(1), u64(2 ** 36), u64(3)));
});

test('NbdServer refuses wrong extended requests, passes over their payload, and goes on', async () => {
  const client = await ExtendedClient.enter((await serve(new MemoryDisk(patterned(1 << 20)))).socket);
  const payload = Buffer.alloc(5000, 0xee);
  const errorOf = async (...args: Parameters<typeof extended>) => (await client.askFor(...args))[0]!.error;
  expect(await errorOf(READ, 0, 2n ** 64n - 1n)).toBe(EOVERFLOW);
  expect(await errorOf(READ, 2n ** 64n - 1n, 512)).toBe(EINVAL);
  expect(await errorOf(READ, 2n ** 53n + 1n, 512)).toBe(EINVAL);
  expect(await errorOf(ZERO, 512, 2n ** 64n - 1n)).toBe(ENOSPC);
  expect(await errorOf(TRIM, 0, 2n ** 63n)).toBe(EINVAL);
  for (const command of [READ, TRIM, ZERO, STATUS, 99])
    expect(await errorOf(command, 0, 5000, { flags: PAYLOAD_LEN, payload })).toBe(EINVAL);
  expect(await errorOf(WRITE, 2 ** 20, 5000, { flags: PAYLOAD_LEN, payload })).toBe(ENOSPC);
  expect(await errorOf(READ, 0, 512)).toBe(0);
  const readOnly = new MemoryDisk(patterned(4096), { readOnly: true });
  const other = await ExtendedClient.enter((await serve(readOnly)).socket);
  expect((await other.askFor(WRITE, 0, 5000, { flags: PAYLOAD_LEN, payload }))[0]!.error).toBe(EPERM);
  expect((await other.askFor(READ, 0, 512))[0]!.error).toBe(0);
});

test.each([
  ['a compact request', request(READ, 0, 512)],
  ['a payload of 33 MiB', extended(TRIM, 0, 33 * 2 ** 20, { flags: PAYLOAD_LEN })],
  ['a payload of 2^64 - 1 bytes', extended(WRITE, 0, 2n ** 64n - 1n, { flags: PAYLOAD_LEN })],
])('NbdServer ends the connection of a client of extended headers that sends %s', async (_, message) => {
  const { socket, notices } = await serve(new MemoryDisk(patterned(1 << 20)));
  const client = await ExtendedClient.enter(socket);
  client.send(message, Buffer.alloc(100));
  expect(await client.readToEnd()).toHaveLength(0);
  expect(notices).toEqual([expect.stringContaining('broke the NBD protocol')]);
});

test('NbdServer takes extended headers before structured replies, and not NBD_OPT_EXPORT_NAME behind them', async () => {
  const { socket } = await serve(new MemoryDisk(patterned(4096)));
  const client = await new RawClient(socket).greet();
  const types = async (number: number) => (await client.option(number)).map(({ type }) => type);
  expect(await types(STRUCTURED)).toEqual([1]);
  expect(await types(EXTENDED)).toEqual([1]);
  expect(await types(EXTENDED)).toEqual([1]);
  expect(await types(STRUCTURED)).toEqual([2 ** 31 + 10]);
  client.send(option(EXPORT_NAME, Buffer.from('disk')));
  expect(await client.readToEnd()).toHaveLength(0);
});

test('NbdSource reads what NbdServer tells of a disk of a terabyte', async () => {
  const { socket } = await serve(vast([]));
  const source = await NbdSource.open({ address: { path: socket }, exportName: 'disk' }, { label: 'nbd' });
  let end = 0;
  for await (const { offset, length, kind } of source.extents(0, TIB)) {
    expect([offset, kind]).toEqual([end, 'hole']);
    end += length;
  }
  expect(end).toBe(TIB);
  await source.close();
});
