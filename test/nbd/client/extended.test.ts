import { expect, test } from 'vitest';
import {
  ALLOCATION_ID,
  bytes,
  chunk,
  type FakeRequest,
  openFake,
  statusChunk,
  u16,
  u32,
  u64,
} from './fake-server.ts';

const GIB = 2 ** 30;

const extendedChunk = (
  { cookie, offset }: Pick<FakeRequest, 'cookie' | 'offset'>,
  type: number,
  payload: Uint8Array,
  length: number | bigint = payload.length,
) => bytes(u32(0x6e8a278c), u16(1), u16(type), u64(cookie), u64(offset), u64(length), payload);

const extendedStatus = (
  ...extents: readonly (readonly [length: number | bigint, flags: number | bigint])[]
) =>
  bytes(
    u32(ALLOCATION_ID),
    u32(extents.length),
    ...extents.map(([length, flags]) => bytes(u64(length), u64(flags))),
  );

test('NbdSource asks for the block status of a whole disk at once where extended headers were agreed on', async () => {
  const asked: number[] = [];
  const source = await openFake({
    extended: true,
    size: 100 * GIB,
    request: (request) => {
      asked.push(request.length);
      return extendedChunk(request, 6, extendedStatus([60 * GIB, 3], [50 * GIB, 0]));
    },
  });
  const found = [];
  for await (const { offset, length, kind } of source.extents(0, 100 * GIB))
    found.push([offset, length, kind]);
  expect(found).toEqual([
    [0, 60 * GIB, 'hole'],
    [60 * GIB, 40 * GIB, 'data'],
  ]);
  expect(asked).toEqual([100 * GIB]);
});

const FAULTS: [what: string, answer: (request: FakeRequest) => Uint8Array, message: RegExp][] = [
  [
    'has the offset of another request',
    (request) => extendedChunk({ ...request, offset: 1 }, 0, bytes()),
    /with the offset 1/,
  ],
  [
    'answers nobody',
    (request) => extendedChunk({ ...request, cookie: 99n }, 0, bytes()),
    /request 99, which does not wait/,
  ],
  ['is compact', ({ cookie }) => chunk(cookie, 0, bytes()), /magic 0x668e33ef/],
  [
    'is a compact block status',
    ({ cookie }) => statusChunk(cookie, ALLOCATION_ID, [512, 0]),
    /magic 0x668e33ef/,
  ],
  [
    'is a block status of the compact kind',
    (request) => extendedChunk(request, 5, bytes(u32(ALLOCATION_ID), u32(512), u32(0))),
    /chunk of type 5/,
  ],
  [
    'promises 2^63 bytes',
    (request) => extendedChunk(request, 6, bytes(), 2n ** 63n),
    /block status has 922337203685477\d+ bytes/,
  ],
  [
    'promises an error of 2^40 bytes',
    (request) => extendedChunk(request, 0x8001, bytes(), 2n ** 40n),
    /error has 1099511627776 bytes/,
  ],
  [
    'has no extents',
    (request) => extendedChunk(request, 6, bytes(u32(ALLOCATION_ID), u32(0))),
    /block status has 8 bytes/,
  ],
  [
    'counts its extents wrongly',
    (request) => extendedChunk(request, 6, bytes(u32(ALLOCATION_ID), u32(9), u64(512), u64(0))),
    /of 1 extent says that it has 9/,
  ],
  ['has an extent of no length', (request) => extendedChunk(request, 6, extendedStatus([0, 0])), /length 0/],
  [
    'has flags of 33 bits',
    (request) => extendedChunk(request, 6, extendedStatus([512, 2n ** 32n])),
    /more than 32 bits/,
  ],
];

test.each(FAULTS)('NbdSource gives up a server whose extended reply %s', async (_, request, message) => {
  const source = await openFake({ extended: true, request });
  const extents = async () => {
    for await (const _extent of source.extents(0, 4096));
  };
  await expect(extents()).rejects.toMatchObject({ code: 'NBD', message: expect.stringMatching(message) });
});
