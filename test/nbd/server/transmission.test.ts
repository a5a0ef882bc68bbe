import { expect, test } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { holeyBytes, MemoryDisk, patterned, serve } from './memory-disk.ts';
import { RawClient, type RawReply, request } from './raw-client.ts';

/** Numbers of the specification. */
const [READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const [FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO] = [1, 2, 4, 8, 16] as const;
const [EPERM, EIO, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN] = [1, 5, 22, 28, 75, 95, 108] as const;
const [NONE, DATA, HOLE, BLOCK_STATUS] = [0, 1, 2, 5] as const;
const SIZE = 1 << 20;
const KIB = 1024;

async function enter(disk: MemoryDisk, options: Parameters<RawClient['enter']>[1] = { allocation: true }) {
  const { socket } = await serve(disk);
  return new RawClient(socket).enter('', options);
}

/** Chunks of a read: type, offset and length in KiB. */
const shapes = (chunks: readonly RawReply[]) =>
  chunks.map(({ type, data }) => {
    const length = type === HOLE ? data.readUInt32BE(8) : data.length - 8;
    return [type, Number(data.readBigUInt64BE(0)) / KIB, length / KIB];
  });

test('NbdServer sends long holes of a read as holes, and the rest as data', async () => {
  const client = await enter(new MemoryDisk(holeyBytes()));
  const chunks = await client.ask(READ, 0, SIZE);
  expect(shapes(chunks)).toEqual([
    [DATA, 0, 256],
    [HOLE, 256, 256],
    [DATA, 512, 512],
  ]);
  for (const { type, data } of chunks) {
    const at = Number(data.readBigUInt64BE(0));
    if (type === DATA)
      expect(data.subarray(8).equals(holeyBytes().subarray(at, at + data.length - 8))).toBe(true);
  }
  expect(shapes(await client.ask(READ, 200 * KIB, 200 * KIB))).toEqual([
    [DATA, 200, 56],
    [HOLE, 256, 144],
  ]);
  expect(shapes(await client.ask(READ, 300 * KIB, 4 * KIB))).toEqual([[HOLE, 300, 4]]);
});

test('NbdServer sends one chunk of data when it must not fragment', async () => {
  const client = await enter(new MemoryDisk(holeyBytes()));
  const [chunk, ...others] = await client.ask(READ, 0, SIZE, { flags: DF });
  expect(others).toEqual([]);
  expect(chunk!.data.subarray(8).equals(holeyBytes())).toBe(true);
});

test('NbdServer tells block status: neighbours of a kind are one, and REQ_ONE gets the first', async () => {
  const client = await enter(new MemoryDisk(holeyBytes()));
  const status = async (offset: number, length: number, flags = 0) => {
    const [chunk, ...others] = await client.ask(STATUS, offset, length, { flags });
    expect(others).toEqual([]);
    expect(chunk!.type).toBe(BLOCK_STATUS);
    const { data } = chunk!;
    return Array.from({ length: (data.length - 4) / 8 }, (_, i) => [
      data.readUInt32BE(4 + 8 * i) / KIB,
      data.readUInt32BE(8 + 8 * i),
    ]);
  };
  const all = [
    [256, 0],
    [256, 3],
    [88, 0],
    [4, 3],
    [420, 0],
  ];
  expect(await status(0, SIZE)).toEqual(all);
  expect(await status(0, SIZE, REQ_ONE)).toEqual(all.slice(0, 1));
  expect(await status(300 * KIB, 100 * KIB, REQ_ONE)).toEqual([[100, 3]]);
  expect(await status(0.5 * KIB, KIB)).toEqual([[1, 0]]);
});

test('NbdServer tells at most 16384 extents in one reply', async () => {
  const disk = new MemoryDisk(Buffer.alloc(1));
  const many = Object.assign(disk, {
    size: 2 ** 30,
    async *extents(offset: number, length: number) {
      for (let at = offset; at < offset + length; at += 4096)
        yield {
          offset: at,
          length: 4096,
          kind: (at / 4096) % 2 === 0 ? ('data' as const) : ('zero' as const),
        };
    },
  });
  const [chunk] = await (await enter(many)).ask(STATUS, 0, 2 ** 30);
  expect((chunk!.data.length - 4) / 8).toBe(16384);
  expect(chunk!.data.readUInt32BE(4 + 8 + 4)).toBe(2);
});

test.each([
  ['structured', true],
  ['simple', false],
])('NbdServer answers every command, %s replies', async (_, structured) => {
  const disk = new MemoryDisk(holeyBytes());
  const client = await enter(disk, { structured });
  const success = structured ? { type: NONE, done: true } : { type: 'simple', error: 0 };
  const payload = patterned(3 * KIB);
  const ask = async (...args: Parameters<RawClient['ask']>) => (await client.ask(...args))[0];
  expect(await ask(WRITE, 5, 3 * KIB, { payload, cookie: 77n })).toMatchObject({ ...success, cookie: 77n });
  expect(disk.bytes.subarray(5, 5 + 3 * KIB).equals(payload)).toBe(true);
  expect(await ask(FLUSH, 0, 0)).toMatchObject(success);
  expect(await ask(TRIM, 8 * KIB, 8 * KIB)).toMatchObject(success);
  expect(await ask(CACHE, 0, SIZE)).toMatchObject(success);
  expect(await ask(ZEROES, 0, 4 * KIB, { flags: NO_HOLE })).toMatchObject(success);
  expect(await ask(ZEROES, 4 * KIB, SIZE - 4 * KIB)).toMatchObject(success);
  expect(disk.calls).toEqual([
    'write 5 3072',
    'flush',
    'trim 8192 8192',
    'cache 0 1048576',
    'zero 0 4096',
    'zero 4096 1044480 punch',
  ]);
  const [read] = await client.ask(READ, 0, 4 * KIB, { cookie: 2n ** 64n - 1n });
  expect(read!.cookie).toBe(2n ** 64n - 1n);
  if (!structured) expect(read!.data.equals(Buffer.alloc(4 * KIB))).toBe(true);
});

test('NbdServer answers requests of no bytes, and asks the export nothing', async () => {
  const disk = new MemoryDisk(holeyBytes());
  const client = await enter(disk);
  for (const command of [READ, WRITE, TRIM, CACHE, ZEROES]) {
    expect(await client.ask(command, SIZE, 0)).toMatchObject([{ type: NONE, done: true }]);
  }
  expect(disk.calls).toEqual([]);
  expect(await client.errorOf(STATUS, 0, 0)).toBe(EINVAL);
});

test('NbdServer flushes behind what has FUA set, and takes FUA on every command', async () => {
  const disk = new MemoryDisk(holeyBytes());
  const client = await enter(disk);
  await client.ask(WRITE, 0, 4, { flags: FUA, payload: Buffer.alloc(4) });
  await client.ask(ZEROES, 0, 4, { flags: FUA });
  await client.ask(TRIM, 0, 4, { flags: FUA });
  expect(disk.calls).toEqual(['write 0 4', 'flush', 'zero 0 4 punch', 'flush', 'trim 0 4', 'flush']);
  for (const command of [READ, FLUSH, CACHE, STATUS]) {
    expect(await client.errorOf(command, 0, command === FLUSH ? 0 : 512, { flags: FUA })).toBe(0);
  }
});

test('NbdServer says ENOTSUP for zeros that would not be fast', async () => {
  const disk = new MemoryDisk(patterned(SIZE));
  disk.fastZero = false;
  const client = await enter(disk);
  expect(await client.errorOf(ZEROES, 0, 4096, { flags: FAST_ZERO })).toBe(ENOTSUP);
  expect(disk.bytes.equals(patterned(SIZE))).toBe(true);
  expect(await client.errorOf(ZEROES, 0, 4096)).toBe(0);
});

type Case = readonly [string, number, number | bigint, number, number, number];
const PAST: readonly Case[] = [
  ['read past the end', READ, SIZE - 511, 512, 0, EINVAL],
  ['read far past the end', READ, 2n ** 64n - 1n, 1, 0, EINVAL],
  ['read of which offset and length overflow', READ, 2n ** 64n - 512n, 1024, 0, EINVAL],
  ['write past the end', WRITE, SIZE - 511, 512, 0, ENOSPC],
  ['write at 2^63', WRITE, 2n ** 63n, 512, 0, ENOSPC],
  ['trim past the end', TRIM, SIZE, 1, 0, EINVAL],
  ['cache past the end', CACHE, 0, SIZE + 1, 0, EINVAL],
  ['write of zeros past the end', ZEROES, 1, 2 ** 32 - 1, 0, ENOSPC],
  ['block status past the end', STATUS, 0, 2 ** 32 - 1, 0, EINVAL],
];
const WRONG: readonly Case[] = [
  ['read that is too long', READ, 0, 2 ** 25 + 1, 0, EOVERFLOW],
  ['flush with a range', FLUSH, 0, 512, 0, EINVAL],
  ['flush with an offset', FLUSH, 512, 0, 0, EINVAL],
  ['unknown command', 8, 0, 512, 0, EINVAL],
  ['unknown command 65535', 65535, 0, 512, 0, EINVAL],
  ['read with REQ_ONE', READ, 0, 512, REQ_ONE, EINVAL],
  ['read with an unknown flag', READ, 0, 512, 0x8000, EINVAL],
  ['write with NO_HOLE', WRITE, 0, 512, NO_HOLE, EINVAL],
  ['trim with FAST_ZERO', TRIM, 0, 512, FAST_ZERO, EINVAL],
  ['cache with DF', CACHE, 0, 512, DF, EINVAL],
  ['flush with NO_HOLE', FLUSH, 0, 0, NO_HOLE, EINVAL],
  ['block status with DF', STATUS, 0, 512, DF, EINVAL],
];

test.each([...PAST, ...WRONG])(
  'NbdServer refuses a %s, and goes on',
  async (_, command, offset, length, flags, error) => {
    const disk = new MemoryDisk(patterned(SIZE));
    const client = await enter(disk);
    const payload = Buffer.alloc(command === WRITE ? length : 0);
    const chunks = await client.ask(command, offset, length, { flags, payload });
    expect(chunks).toMatchObject([{ type: 0x8001, error }]);
    // A line for people.
    expect(chunks[0]!.data.subarray(6).toString()).toMatch(/^[\x20-\x7e]{10,}$/);
    expect(await client.errorOf(READ, 0, 512, { cookie: 2n })).toBe(0);
    expect(disk.calls).toEqual([]);
  },
);

test.each([
  ['read', READ, EINVAL],
  ['write', WRITE, EINVAL],
  ['trim', TRIM, EINVAL],
  ['write of zeros', ZEROES, EINVAL],
  ['block status', STATUS, EINVAL],
])('NbdServer refuses a %s that is not in blocks', async (_, command, error) => {
  const blockSize = { minimum: 512, preferred: 4096, maximum: 65536 };
  const client = await enter(new MemoryDisk(patterned(SIZE), { blockSize }));
  for (const [offset, length] of [
    [1, 512],
    [512, 511],
    [256, 256],
  ] as const) {
    const payload = Buffer.alloc(command === WRITE ? length : 0);
    expect(await client.errorOf(command, offset, length, { payload })).toBe(error);
  }
});

test('NbdServer refuses reads and writes above the maximum of the export, and passes the payload over', async () => {
  const blockSize = { minimum: 1, preferred: 4096, maximum: 65536 };
  const disk = new MemoryDisk(patterned(SIZE), { blockSize });
  const client = await enter(disk);
  expect(await client.errorOf(READ, 0, 65537)).toBe(EOVERFLOW);
  expect(await client.errorOf(WRITE, 0, 2 ** 25, { payload: Buffer.alloc(2 ** 25) })).toBe(EINVAL);
  expect(await client.errorOf(WRITE, 0, 65536, { payload: Buffer.alloc(65536) })).toBe(0);
  expect(disk.calls).toEqual(['write 0 65536']);
  const simple = await enter(disk, { structured: false });
  expect(await simple.errorOf(READ, 0, 65537)).toBe(EINVAL);
  expect(await simple.errorOf(READ, 0, 512, { flags: DF })).toBe(EINVAL);
  expect(await simple.errorOf(STATUS, 0, 512)).toBe(EINVAL);
});

test('NbdServer refuses every change of a read-only disk with EPERM, its payload passed over', async () => {
  const disk = new MemoryDisk(patterned(SIZE), { readOnly: true });
  const client = await enter(disk);
  expect(await client.errorOf(WRITE, 0, 100_000, { payload: Buffer.alloc(100_000) })).toBe(EPERM);
  expect(await client.errorOf(TRIM, 0, 512)).toBe(EPERM);
  expect(await client.errorOf(ZEROES, 0, 512)).toBe(EPERM);
  expect(await client.errorOf(FLUSH, 0, 0)).toBe(EINVAL);
  expect(await client.errorOf(READ, 0, 512)).toBe(0);
  expect(disk.calls).toEqual([]);
});

test('NbdServer tells the error of an export with its message, one notice for a connection, and goes on', async () => {
  const disk = new MemoryDisk(patterned(SIZE));
  const errors: unknown[] = [
    new ImgstoreError('DAMAGED', 'web: cluster 5 is damaged: run imgstore fsck'),
    new ImgstoreError('IO', 'web.qcow2: no space', { system: 'ENOSPC' }),
    new ImgstoreError('FORBIDDEN', 'not you'),
    Object.assign(new Error('secret path'), { code: 'EDQUOT' }),
    new TypeError('undefined is not a function'),
  ];
  const failing = Object.assign(disk, {
    read: (_: number, into: Uint8Array) => {
      const error = errors.shift();
      // A failure may come before there is a promise.
      if (error !== undefined) throw error;
      into.fill(7);
      return Promise.resolve();
    },
  });
  const { socket, notices } = await serve(failing);
  const client = await new RawClient(socket).enter();
  const told = [];
  for (let i = 0; i < 5; i++) {
    const [chunk] = await client.ask(READ, 0, 512);
    told.push([chunk!.error, chunk!.data.subarray(6).toString()]);
  }
  expect(told).toEqual([
    [EIO, 'web: cluster 5 is damaged: run imgstore fsck'],
    [ENOSPC, 'web.qcow2: no space'],
    [EPERM, 'not you'],
    [ENOSPC, ''],
    [EIO, ''],
  ]);
  expect(await client.errorOf(READ, 0, 512)).toBe(0);
  expect(notices).toEqual(['disk: a request failed: web: cluster 5 is damaged: run imgstore fsck']);
});

test('NbdServer replies as results come, not as requests came', async () => {
  const disk = new MemoryDisk(patterned(SIZE));
  const waiting: (() => void)[] = [];
  const slow = Object.assign(disk, {
    read: (offset: number, into: Uint8Array) => {
      into.fill(1);
      if (offset > 0) return Promise.resolve();
      return new Promise<void>((resolve) => waiting.push(resolve));
    },
  });
  const client = await enter(slow);
  client.send(request(READ, 0, 512, { cookie: 1n }), request(READ, 512, 512, { cookie: 2n }));
  expect((await client.reply()).cookie).toBe(2n);
  for (const go of waiting) go();
  expect((await client.reply()).cookie).toBe(1n);
});

test('NbdServer has at most 64 requests of a connection under way, and takes the others when replies are sent', async () => {
  const disk = new MemoryDisk(patterned(SIZE));
  const waiting: (() => void)[] = [];
  const slow = Object.assign(disk, {
    read: (_: number, into: Uint8Array) => {
      into.fill(1);
      return new Promise<void>((resolve) => waiting.push(resolve));
    },
  });
  const client = await enter(slow);
  for (let i = 0; i < 200; i++) client.send(request(READ, i * 512, 512, { cookie: BigInt(i) }));
  await expect.poll(() => waiting.length).toBe(64);
  const seen = new Set<bigint>();
  while (seen.size < 200) {
    expect(waiting.length).toBeLessThanOrEqual(64);
    for (const go of waiting.splice(0)) go();
    seen.add((await client.reply()).cookie);
  }
});

test('NbdServer answers what was asked before NBD_CMD_DISC or the end of the stream, and closes', async () => {
  const disk = new MemoryDisk(patterned(SIZE));
  for (const end of [
    (client: RawClient) => client.send(request(DISC, 0, 0)),
    (client: RawClient) => client.socket.end(),
  ]) {
    const { socket, server } = await serve(disk);
    const client = await new RawClient(socket).enter();
    for (let i = 0; i < 10; i++) client.send(request(READ, 0, 65536, { cookie: BigInt(i) }));
    end(client);
    for (let i = 0; i < 10; i++) expect((await client.reply()).data.length).toBe(65536 + 8);
    expect(await client.readToEnd()).toHaveLength(0);
    await expect.poll(() => server.connections).toBe(0);
  }
  expect(disk.released).toBe(2);
});

test('NbdServer.close lets what is under way end, refuses what comes with ESHUTDOWN, and releases every export', async () => {
  const disk = new MemoryDisk(patterned(SIZE));
  const waiting: (() => void)[] = [];
  const slow = Object.assign(disk, {
    write: () => new Promise<void>((resolve) => waiting.push(resolve)),
  });
  const { socket, server } = await serve(slow);
  const busy = await new RawClient(socket).enter();
  const idle = await new RawClient(socket).enter();
  const negotiating = await new RawClient(socket).greet();
  await negotiating.option(8);
  busy.send(request(WRITE, 0, 4, { payload: Buffer.alloc(4), cookie: 1n }));
  await expect.poll(() => waiting.length).toBe(1);
  let isClosed = false;
  const closed = server.close().then(() => {
    isClosed = true;
  });
  expect(await idle.readToEnd()).toHaveLength(0);
  await negotiating.readToEnd();
  expect(await busy.errorOf(READ, 0, 512, { cookie: 2n })).toBe(ESHUTDOWN);
  expect(isClosed).toBe(false);
  waiting[0]!();
  expect(await busy.reply()).toMatchObject({ cookie: 1n, error: 0 });
  expect(await busy.readToEnd()).toHaveLength(0);
  await closed;
  expect(disk.released).toBe(2);
  await new RawClient(socket).readToEnd();
});
