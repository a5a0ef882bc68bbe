import { expect, test } from 'vitest';
import { listExports, NbdSource } from '../../../nbd/index.ts';
import {
  ALLOCATION_ID,
  type Answer,
  ack,
  bytes,
  chunk,
  dataChunk,
  exportInfo,
  type FakeRequest,
  fakeServer,
  GO,
  holeChunk,
  LIST,
  META,
  openFake,
  optionReply,
  refusal,
  type Script,
  STRUCTURED,
  statusChunk,
  u16,
  u32,
  u64,
  zeros,
} from './fake-server.ts';

const meta = (id: number, name: string) => optionReply(META, 4, bytes(u32(id), Buffer.from(name)));
const info = (size: number | bigint) => optionReply(GO, 3, exportInfo(size));
const blockSizes = (...sizes: readonly number[]) =>
  optionReply(GO, 3, bytes(u16(3), ...sizes.map((size) => u32(size))));

const NEGOTIATIONS: [name: string, script: Script, message: RegExp, code?: string][] = [
  ['is no NBD server', { greeting: Buffer.from('HTTP/1.1 400 Bad Request\r\n') }, /no NBD server/],
  [
    'speaks oldstyle',
    { greeting: bytes(Buffer.from('NBDMAGIC'), u64(0x420281861253n), u64(5)) },
    /oldstyle negotiation only/,
  ],
  [
    'knows no fixed newstyle',
    { greeting: bytes(Buffer.from('NBDMAGICIHAVEOPT'), u16(0)) },
    /newstyle negotiation only/,
  ],
  ['has an unknown style', { greeting: bytes(Buffer.from('NBDMAGICnonsense'), u16(3)) }, /second magic/],
  ['closes after half a greeting', { greeting: 'end' }, /closed the connection during negotiation/],
  [
    'answers with a wrong magic',
    { options: { [STRUCTURED]: bytes(u64(1), u32(8), u32(1), u32(0)) } },
    /magic 0x1/,
  ],
  [
    'answers another option',
    { options: { [STRUCTURED]: ack(GO) } },
    /option 8 was answered by a reply to option 7/,
  ],
  [
    'promises a reply of 4 GiB',
    { options: { [STRUCTURED]: bytes(u64(0x3e889045565a9n), u32(8), u32(1), u32(0xffffffff)) } },
    /4294967295 bytes/,
  ],
  [
    'acknowledges with data',
    { options: { [STRUCTURED]: optionReply(STRUCTURED, 1, u32(1)) } },
    /acknowledgement has 4 bytes/,
  ],
  [
    'answers with a type of another option',
    { options: { [STRUCTURED]: optionReply(STRUCTURED, 2) } },
    /type 2/,
  ],
  [
    'closes in the middle of an option',
    { options: { [META]: 'end' } },
    /closed the connection during negotiation/,
  ],
  [
    'requires TLS',
    { options: { [STRUCTURED]: refusal(STRUCTURED, 5, 'use TLS') } },
    /requires TLS \(use TLS\)/,
    'UNSUPPORTED',
  ],
  [
    'has no such export',
    { options: { [GO]: refusal(GO, 6, 'none\nof it') } },
    /no export "x" \(none of it\)/,
    'NOT_FOUND',
  ],
  ['does not know NBD_OPT_GO', { options: { [GO]: refusal(GO, 1) } }, /does not know NBD_OPT_GO/],
  ['refuses by policy', { options: { [GO]: refusal(GO, 2) } }, /does not allow it/],
  ['invents an error', { options: { [GO]: refusal(GO, 99) } }, /unknown error 99/],
  [
    'offers a context that nobody asked for',
    { options: { [META]: bytes(meta(1, 'qemu:secret'), ack(META)) } },
    /"qemu:secret", which was not asked for/,
  ],
  [
    'offers a context twice',
    { options: { [META]: bytes(meta(1, 'base:allocation'), meta(2, 'base:allocation'), ack(META)) } },
    /twice/,
  ],
  [
    'names a context in no UTF-8',
    { options: { [META]: bytes(optionReply(META, 4, bytes(u32(1), Buffer.from([0xff]))), ack(META)) } },
    /not UTF-8/,
  ],
  [
    'sends a context of 3 bytes',
    { options: { [META]: bytes(optionReply(META, 4, Buffer.alloc(3)), ack(META)) } },
    /metadata context has 3 bytes/,
  ],
  ['tells no size', { options: { [GO]: ack(GO) } }, /how large/],
  [
    'tells information of 1 byte',
    { options: { [GO]: bytes(optionReply(GO, 3, Buffer.alloc(1)), ack(GO)) } },
    /information about the export has 1 bytes/,
  ],
  [
    'tells half of the size',
    { options: { [GO]: bytes(optionReply(GO, 3, Buffer.alloc(6)), ack(GO)) } },
    /information 0 has 6 bytes/,
  ],
  ['has a size beyond 2^53', { options: { [GO]: bytes(info(2n ** 53n), ack(GO)) } }, /too large/],
  [
    'has a minimum block of 0',
    { options: { [GO]: bytes(info(512), blockSizes(0, 512, 512), ack(GO)) } },
    /minimum block size is 0/,
  ],
  [
    'has a minimum block of 3',
    { options: { [GO]: bytes(info(512), blockSizes(3, 512, 512), ack(GO)) } },
    /minimum block size is 3/,
  ],
  [
    'has a minimum block of 128 KiB',
    { options: { [GO]: bytes(info(0), blockSizes(131072, 131072, 131072), ack(GO)) } },
    /minimum block size is 131072/,
  ],
  [
    'prefers blocks below the minimum',
    { options: { [GO]: bytes(info(0), blockSizes(4096, 512, 512), ack(GO)) } },
    /preferred block size is 512/,
  ],
  [
    'takes less than it prefers',
    { options: { [GO]: bytes(info(0), blockSizes(1, 4096, 1024), ack(GO)) } },
    /maximum payload is 1024/,
  ],
  [
    'has an end that cannot be read',
    { options: { [GO]: bytes(info(1000), blockSizes(512, 512, 4096), ack(GO)) } },
    /1000 is no multiple/,
  ],
];

test.each(NEGOTIATIONS)(
  'NbdSource.open throws one clear error when the server %s',
  async (...[, script, message, code = 'NBD']) => {
    await expect(openFake(script)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  },
);

test('NbdSource.open throws NBD when the server never answers', async () => {
  const path = await fakeServer({ greeting: 'silence' });
  const location = { address: { path }, exportName: '' };
  await expect(NbdSource.open(location, { label: 'fake', negotiationSeconds: 0.05 })).rejects.toMatchObject({
    code: 'NBD',
    message: 'fake: the server has not come to an agreement within 0.05 s',
  });
});

test('NbdSource.open throws INTERRUPTED when its signal comes, before or in the middle', async () => {
  const path = await fakeServer({ options: { [GO]: 'silence' } });
  const location = { address: { path }, exportName: '' };
  const stop = new AbortController();
  const opening = NbdSource.open(location, { label: 'fake', signal: stop.signal });
  stop.abort();
  await expect(opening).rejects.toMatchObject({ code: 'INTERRUPTED' });
  await expect(NbdSource.open(location, { label: 'fake', signal: stop.signal })).rejects.toMatchObject({
    code: 'INTERRUPTED',
  });
});

test('NbdSource.open throws NBD when nobody listens', async () => {
  const location = { address: { path: '/nonexistent/socket' }, exportName: '' };
  await expect(NbdSource.open(location, { label: 'fake' })).rejects.toMatchObject({
    code: 'NBD',
    message: expect.stringContaining('no such socket'),
  });
});

test.each<[string, Answer, RegExp]>([
  [
    'never ends its list',
    bytes(...Array.from({ length: 10_000 }, () => optionReply(LIST, 2, u32(0)))),
    /without end/,
  ],
  ['names an export longer than its reply', optionReply(LIST, 2, u32(5)), /does not fit/],
  ['names an export of 2 bytes', optionReply(LIST, 2, u16(0)), /does not fit/],
  ['forbids it', refusal(LIST, 2, 'no'), /does not allow it \(no\)/],
])('listExports throws NBD when the server %s', async (_, answer, message) => {
  const path = await fakeServer({ options: { [LIST]: answer } });
  await expect(listExports({ path }, { label: 'fake' })).rejects.toMatchObject({
    code: 'NBD',
    message: expect.stringMatching(message),
  });
});

const DATA = Buffer.alloc(1024, 7);

/** Answers to a read of 4096 bytes at 8192. */
const READS: readonly (readonly [string, (request: FakeRequest) => Answer, RegExp])[] = [
  ['sends a wrong magic', () => bytes(u32(1), Buffer.alloc(16)), /magic 0x1/],
  ['sends a simple reply', ({ cookie }) => bytes(u32(0x67446698), u32(0), u64(cookie), DATA), /simple reply/],
  [
    'answers another cookie',
    ({ cookie, offset, length }) => holeChunk(cookie + 1n, offset, length),
    /does not wait/,
  ],
  ['sends data before the range', ({ cookie, offset }) => dataChunk(cookie, offset - 1, DATA), /outside/],
  [
    'sends data behind the range',
    ({ cookie, offset, length }) => dataChunk(cookie, offset + length - 1023, DATA),
    /outside/,
  ],
  ['sends data at 2^64 - 1', ({ cookie }) => chunk(cookie, 1, bytes(u64(2n ** 64n - 1n), DATA)), /too large/],
  [
    'promises 4 GiB of data',
    ({ cookie, offset }) => chunk(cookie, 1, u64(offset), { length: 0xffffffff }),
    /4294967295 bytes where 4096/,
  ],
  ['sends a chunk without data', ({ cookie, offset }) => chunk(cookie, 1, u64(offset)), /8 bytes/],
  ['sends a hole of no length', ({ cookie, offset }) => holeChunk(cookie, offset, 0), /outside/],
  [
    'sends a hole beyond the range',
    ({ cookie, offset, length }) => holeChunk(cookie, offset, length + 1),
    /outside/,
  ],
  [
    'sends a hole of 13 bytes',
    ({ cookie, offset }) => chunk(cookie, 2, bytes(u64(offset), u32(1), Buffer.alloc(1))),
    /hole has 13 bytes/,
  ],
  [
    'leaves a gap',
    ({ cookie, offset }) =>
      bytes(dataChunk(cookie, offset, DATA, false), holeChunk(cookie, offset + 2048, 2048)),
    /before all data/,
  ],
  ['sends nothing', ({ cookie }) => chunk(cookie, 0, Buffer.alloc(0)), /before all data/],
  [
    'sends data twice',
    ({ cookie, offset }) =>
      bytes(dataChunk(cookie, offset, DATA, false), dataChunk(cookie, offset + 1023, DATA, false)),
    /twice/,
  ],
  [
    'scatters bytes',
    ({ cookie, offset }) =>
      bytes(
        ...Array.from({ length: 2049 }, (_, i) => dataChunk(cookie, offset + 2 * i, Buffer.of(1), false)),
      ),
    /outside|too many/,
  ],
  [
    'sends an empty chunk that is not the last',
    ({ cookie }) => chunk(cookie, 0, Buffer.alloc(0), { done: false }),
    /empty chunk/,
  ],
  [
    'sends a block status',
    ({ cookie }) => statusChunk(cookie, ALLOCATION_ID, [4096, 0]),
    /read with a chunk of type 5/,
  ],
  ['sends an unknown chunk', ({ cookie }) => chunk(cookie, 42, Buffer.alloc(0)), /chunk of type 42/],
  [
    'promises an error of 4 GiB',
    ({ cookie }) => chunk(cookie, 0x8001, u32(5), { length: 0xffffffff }),
    /error has 4294967295 bytes/,
  ],
  ['sends an error of 3 bytes', ({ cookie }) => chunk(cookie, 0x8001, Buffer.alloc(3)), /error has 3 bytes/],
  ['sends the error 0', ({ cookie }) => chunk(cookie, 0x8001, bytes(u32(0), u16(0))), /number 0/],
  [
    'sends an error with a text longer than it',
    ({ cookie }) => chunk(cookie, 0x8002, bytes(u32(5), u16(3), Buffer.alloc(8))),
    /text of an error does not fit/,
  ],
  [
    'closes in the middle of data',
    ({ cookie, offset }) => dataChunk(cookie, offset, DATA).subarray(0, 100),
    /closed the connection while it was read/,
  ],
  ['closes instead of an answer', () => 'end', /closed the connection while it was read/],
];

test.each(READS)(
  'NbdSource.read throws NBD, now and later, when the server %s',
  async (_, request, message) => {
    let reads = 0;
    const source = await openFake(
      {
        request: (each) => {
          reads++;
          return request(each);
        },
      },
      { idleSeconds: 0.2 },
    );
    const failure = source.read(8192, Buffer.alloc(4096));
    // A reply that is cut off ends by the server's silence.
    await expect(failure).rejects.toMatchObject({
      code: 'NBD',
      message: expect.stringMatching(new RegExp(`${message.source}|has not answered for 0.2 s`)),
    });
    await expect(source.read(0, Buffer.alloc(512))).rejects.toMatchObject({ code: 'NBD' });
    expect(reads).toBe(1);
  },
);

test('NbdSource.read takes chunks in any order, and errors end the request only', async () => {
  const source = await openFake({
    request: (request) => {
      const { cookie, offset, length } = request;
      if (offset === 0)
        return chunk(cookie, 0x8002, bytes(u32(5), u16(4), Buffer.from('bad\n'), u64(offset)));
      if (offset === 4096) return chunk(cookie, 0xbeef, bytes(u32(28), u16(0), Buffer.alloc(100)));
      return bytes(
        dataChunk(cookie, offset + length - 1024, DATA, false),
        holeChunk(cookie, offset + 1024, length - 2048, false),
        dataChunk(cookie, offset, DATA, false),
        chunk(cookie, 0, Buffer.alloc(0)),
      );
    },
  });
  await expect(source.read(0, Buffer.alloc(512))).rejects.toMatchObject({
    code: 'NBD',
    message: 'fake: the server failed the read at 0: input/output error (bad)',
  });
  await expect(source.read(4096, Buffer.alloc(512))).rejects.toThrow('no space left');
  const into = Buffer.alloc(4096, 0xee);
  await source.read(8192, into);
  expect(into.equals(bytes(DATA, Buffer.alloc(2048), DATA))).toBe(true);
});

test('NbdSource.read gets replies of several requests mixed and in another order', async () => {
  const waiting: FakeRequest[] = [];
  const source = await openFake({
    request: (request) => {
      waiting.push(request);
      if (waiting.length < 3) return 'silence';
      const halves = (first: boolean) =>
        waiting.toReversed().map(({ cookie, offset, length }) => {
          const half = Buffer.alloc(length / 2, offset / 512 + 1);
          return dataChunk(cookie, first ? offset : offset + length / 2, half, !first);
        });
      return bytes(...halves(true), ...halves(false));
    },
  });
  const parts = [0, 512, 1024].map((offset) => ({ offset, into: Buffer.alloc(512) }));
  await Promise.all(parts.map(({ offset, into }) => source.read(offset, into)));
  expect(parts.map(({ into }) => [...new Set(into)])).toEqual([[1], [2], [3]]);
});

test('NbdSource.read keeps to block sizes', async () => {
  const requests: FakeRequest[] = [];
  const source = await openFake({
    size: 1 << 20,
    blockSizes: [4096, 4096, 10_000],
    request: (request) => {
      requests.push(request);
      return zeros(request);
    },
  });
  await source.read(4097, new Uint8Array(500_000));
  for (const { offset, length } of requests) {
    expect([offset % 4096, length % 4096]).toEqual([0, 0]);
    expect(length).toBeLessThanOrEqual(8192);
  }
});

test('NbdSource.read throws NBD when the server owes a reply for too long', async () => {
  const source = await openFake({ request: () => 'silence' }, { idleSeconds: 0.05 });
  await expect(source.read(0, Buffer.alloc(512))).rejects.toThrow(
    'fake: the server has not answered for 0.05 s',
  );
});

const STATUSES: readonly (readonly [string, (request: FakeRequest) => Answer, RegExp])[] = [
  ['has the length 0', ({ cookie }) => statusChunk(cookie, ALLOCATION_ID, [512, 0], [0, 0]), /length 0/],
  ['has no extents', ({ cookie }) => statusChunk(cookie, ALLOCATION_ID), /block status has 4 bytes/],
  [
    'is cut off',
    ({ cookie }) => chunk(cookie, 5, bytes(u32(ALLOCATION_ID), u32(512))),
    /block status has 8 bytes/,
  ],
  [
    'has 4 GiB',
    ({ cookie }) => chunk(cookie, 5, u32(ALLOCATION_ID), { length: 4 + 8 * 0x1fffffff }),
    /block status has \d+ bytes/,
  ],
  [
    'is about another context',
    ({ cookie }) => statusChunk(cookie, 1, [512, 0]),
    /context 1, which was not agreed on/,
  ],
  [
    'comes twice',
    ({ cookie }) =>
      bytes(
        chunk(cookie, 5, bytes(u32(ALLOCATION_ID), u32(512), u32(0)), { done: false }),
        statusChunk(cookie, ALLOCATION_ID, [512, 0]),
      ),
    /twice/,
  ],
  ['is missing', ({ cookie }) => chunk(cookie, 0, Buffer.alloc(0)), /does not tell/],
  ['is data', ({ cookie, offset }) => dataChunk(cookie, offset, DATA), /block status with a chunk of type 1/],
  [
    'is a failure',
    ({ cookie }) => chunk(cookie, 0x8001, bytes(u32(22), u16(0))),
    /failed the block status at 0: invalid argument/,
  ],
  ['ends before the offset', ({ cookie }) => statusChunk(cookie, ALLOCATION_ID, [1, 0]), /too short/],
];

test.each(STATUSES)('NbdSource.extents throw NBD when the block status %s', async (_, request, message) => {
  const source = await openFake({ request, blockSizes: [512, 512, 4096] });
  await expect(collect(source, 100, 4000)).rejects.toMatchObject({
    code: 'NBD',
    message: expect.stringMatching(message),
  });
});

test('NbdSource.extents go on where a block status was short, and are cut where it was long', async () => {
  const source = await openFake({
    size: 10_000,
    request: ({ cookie, offset, length }) =>
      offset < 4000
        ? statusChunk(cookie, ALLOCATION_ID, [1000, 0])
        : statusChunk(cookie, ALLOCATION_ID, [length, 3], [0xffffffff, 0]),
  });
  expect(await collect(source, 2500, 5000)).toEqual([
    { offset: 2500, length: 1000, kind: 'data' },
    { offset: 3500, length: 1000, kind: 'data' },
    { offset: 4500, length: 3000, kind: 'hole' },
  ]);
});

test.each([
  [0, 'data'],
  [1, 'data'],
  [2, 'zero'],
  [3, 'hole'],
  [0xfffffffc, 'data'],
] as const)('NbdSource.extents of flags %i are %s', async (flags, kind) => {
  const source = await openFake({
    request: ({ cookie }) => statusChunk(cookie, ALLOCATION_ID, [512, flags]),
    size: 512,
  });
  expect(await collect(source, 0, 512)).toEqual([{ offset: 0, length: 512, kind }]);
});

test('NbdSource.extents are data where the server knows no metadata contexts', async () => {
  const source = await openFake({ options: { [META]: refusal(META, 1) }, size: 512 });
  expect(source.contexts).toEqual([]);
  expect(await collect(source, 0, 512)).toEqual([{ offset: 0, length: 512, kind: 'data' }]);
});

async function collect(source: NbdSource, offset: number, length: number) {
  const extents = [];
  for await (const extent of source.extents(offset, length)) extents.push(extent);
  return extents;
}
