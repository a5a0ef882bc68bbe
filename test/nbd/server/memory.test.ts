import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Buffers } from '../../../nbd/server/buffers.ts';
import { MemoryShare, ServerMemory } from '../../../nbd/server/memory.ts';

const MEBIBYTE = 1024 * 1024;
const MOST = 128 * MEBIBYTE;
const OWN = 256 * 1024;

/** A connection that reserves in order: what does not fit waits, and is tried again when it is woken or gives something back. */
class Client {
  readonly share: MemoryShare;
  readonly held: number[] = [];
  waiting: number | undefined;

  constructor(server: ServerMemory) {
    this.share = new MemoryShare(server, () => this.retry());
  }

  reserve(bytes: number): void {
    if (this.waiting !== undefined) return;
    this.waiting = bytes;
    this.retry();
  }

  retry(): void {
    if (this.waiting === undefined || !this.share.reserve(this.waiting)) return;
    this.held.push(this.waiting);
    this.waiting = undefined;
  }

  release(): void {
    const bytes = this.held.shift();
    if (bytes === undefined) return;
    this.share.release(bytes);
    this.retry();
  }

  get sum(): number {
    return this.held.reduce((sum, bytes) => sum + bytes, 0);
  }
}

test('ServerMemory never gives more than there is, and everybody who waits gets it when others are done', () => {
  const step = fc.tuple(fc.nat(11), fc.nat(32), fc.boolean());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const server = new ServerMemory();
      const clients = Array.from({ length: 12 }, () => new Client(server));
      for (const [who, mebibytes, isRelease] of steps) {
        const client = clients[who]!;
        if (isRelease) client.release();
        else client.reserve(mebibytes * MEBIBYTE);
        const beyond = clients.map(({ sum }) => Math.max(0, sum - OWN)).reduce((sum, each) => sum + each, 0);
        expect(beyond).toBeLessThanOrEqual(MOST);
        for (const { sum } of clients) expect(sum).toBeLessThanOrEqual(64 * MEBIBYTE);
      }
      while (clients.some(({ held }) => held.length > 0)) for (const client of clients) client.release();
      for (const client of clients) expect(client.waiting).toBe(undefined);
      expect(server.hasWaiting).toBe(false);
    }),
  );
});

test('MemoryShare.reserve gives every connection 256 KiB, whoever holds the rest, and MemoryShare.end frees those who wait behind', () => {
  const server = new ServerMemory();
  const greedy = Array.from({ length: 5 }, () => new Client(server));
  for (const client of greedy) for (let i = 0; i < 3; i++) client.reserve(20 * MEBIBYTE);
  expect(server.hasWaiting).toBe(true);
  const small = new Client(server);
  for (let i = 0; i < 4; i++) small.reserve(64 * 1024);
  expect(small.sum).toBe(OWN);
  small.reserve(1);
  expect(small.waiting).toBe(1);
  for (const client of greedy) client.share.end();
  expect(small.waiting).toBe(undefined);
});

test('Buffers.take gives at least what was asked for, and the same buffer again after Buffers.give', () => {
  const buffers = new Buffers();
  for (const length of [0, 1, 4096, 8192, 8193, 65536 + 28, 4 * MEBIBYTE + 4096, 32 * MEBIBYTE]) {
    expect(buffers.take(length).length).toBeGreaterThanOrEqual(length);
  }
  const buffer = buffers.take(65536 + 28);
  buffers.give(buffer);
  expect(buffers.take(65536)).toBe(buffer);
  expect(buffers.take(65536)).not.toBe(buffer);
  buffers.give(buffer);
  buffers.clear();
  expect(buffers.take(65536)).not.toBe(buffer);
});
