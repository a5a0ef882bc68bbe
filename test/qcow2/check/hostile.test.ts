import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { isImgstoreError } from '../../../errors/index.ts';
import { type CheckReport, checkSource } from '../../../qcow2/check/check.ts';
import { checkBoth } from '../differential/compare.ts';
import { qemuImg, qemuIo, tempFolder } from '../qemu.ts';
import { MadeImage } from './made-image.ts';
import { SparseSource } from './sparse-source.ts';

const file = tempFolder();
const MAX_SECONDS = 5;
const MAX_BYTES = 300 * 2 ** 20;
const TIB = 2 ** 40;

interface Fields {
  readonly clusterBits: number;
  readonly l1Entries?: number;
  readonly l1Offset?: number;
  readonly refcountTableOffset?: number;
  readonly refcountTableClusters?: number;
  readonly refcountOrder?: number;
  readonly snapshots?: number;
  readonly snapshotsOffset?: number;
  readonly extension?: Buffer;
}

function header(fields: Fields): Buffer {
  const bytes = Buffer.alloc(512);
  bytes.writeUInt32BE(0x514649fb, 0);
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(fields.clusterBits, 20);
  bytes.writeBigUInt64BE(0n, 24);
  bytes.writeUInt32BE(fields.l1Entries ?? 0, 36);
  bytes.writeBigUInt64BE(BigInt(fields.l1Offset ?? 0), 40);
  bytes.writeBigUInt64BE(BigInt(fields.refcountTableOffset ?? 0), 48);
  bytes.writeUInt32BE(fields.refcountTableClusters ?? 0, 56);
  bytes.writeUInt32BE(fields.snapshots ?? 0, 60);
  bytes.writeBigUInt64BE(BigInt(fields.snapshotsOffset ?? 0), 64);
  bytes.writeUInt32BE(fields.refcountOrder ?? 4, 96);
  bytes.writeUInt32BE(104, 100);
  if (fields.extension !== undefined) {
    bytes.writeBigUInt64BE(1n, 88);
    fields.extension.copy(bytes, 104);
  }
  return bytes;
}

/** A table of `count` entries. */
function table(count: number, entry: (index: number) => number): Buffer {
  const bytes = Buffer.alloc(count * 8);
  for (let i = 0; i < count; i++) bytes.writeBigUInt64BE(BigInt(entry(i)), i * 8);
  return bytes;
}

/** Checks within the limits of time and memory. @returns the report, or the error's code. */
async function bounded(size: number, pieces: Record<number, Buffer>): Promise<CheckReport | string> {
  const source = new SparseSource(
    size,
    new Map(Object.entries(pieces).map(([at, bytes]) => [Number(at), bytes])),
  );
  const before = process.memoryUsage().rss;
  let peak = before;
  const watch = () => {
    peak = Math.max(peak, process.memoryUsage().rss);
  };
  const timer = setInterval(watch, 20);
  // Time of the processor: tests run beside others.
  const start = process.cpuUsage();
  try {
    return await checkSource(source, 'hostile');
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    return error.code;
  } finally {
    watch();
    clearInterval(timer);
    const { user, system } = process.cpuUsage(start);
    expect((user + system) / 1e6).toBeLessThan(MAX_SECONDS);
    expect(peak - before).toBeLessThan(MAX_BYTES);
  }
}

const L1_ENTRIES = 2 ** 22;

describe('a hostile image', () => {
  it('that names L2 tables all over a huge file of holes', async () => {
    const small = await bounded(TIB - 512, {
      0: header({ clusterBits: 9, l1Entries: L1_ENTRIES, l1Offset: 512 }),
      512: table(L1_ENTRIES, (i) => (i + 100_000) * 131_072),
    });
    expect(small).toBe('UNSUPPORTED');
    const large = await bounded(8 * TIB, {
      0: header({ clusterBits: 21, l1Entries: L1_ENTRIES, l1Offset: 2 ** 21 }),
      [2 ** 21]: table(L1_ENTRIES, (i) => i * 2 ** 21),
    });
    expect(large).toMatchObject({ verdict: 'corrupt' });
  });

  it('that names one L2 table four million times', async () => {
    const report = await bounded(2 ** 26, {
      0: header({ clusterBits: 16, l1Entries: L1_ENTRIES, l1Offset: 65536 }),
      65536: table(L1_ENTRIES, () => 2 ** 25 + 65536),
      [2 ** 25 + 65536]: table(8192, (i) => (i % 512) * 65536 + 2 ** 25),
    });
    expect(report).toMatchObject({ verdict: 'corrupt' });
  });

  it('whose L1 table has offsets that are not aligned', async () => {
    const report = await bounded(8 * TIB, {
      0: header({ clusterBits: 21, l1Entries: L1_ENTRIES, l1Offset: 2 ** 21 }),
      [2 ** 21]: table(L1_ENTRIES, (i) => i * 2 ** 20 + 512),
    });
    expect(report).toMatchObject({ verdict: 'corrupt' });
  });

  it('whose 65536 snapshots all name the largest L1 table', async () => {
    const entry = Buffer.alloc(40);
    entry.writeBigUInt64BE(2n ** 30n, 0);
    entry.writeUInt32BE(L1_ENTRIES, 8);
    const report = await bounded(TIB, {
      0: header({ clusterBits: 16, snapshots: 65536, snapshotsOffset: 65536 }),
      65536: Buffer.concat(Array<Buffer>(65536).fill(entry)),
      [2 ** 30]: table(L1_ENTRIES, (i) => (i % 100) * 65536 + 2 ** 32),
    });
    expect(report).toBe('UNSUPPORTED');
  });

  it('whose 65536 snapshots lie in a hole, or behind the end', async () => {
    for (const snapshotsOffset of [2 ** 30, 2 ** 41]) {
      const report = await bounded(TIB, {
        0: header({ clusterBits: 16, snapshots: 65536, snapshotsOffset }),
      });
      expect(report).toMatchObject({ verdict: 'corrupt' });
    }
  });

  it('whose 10000 bitmaps all name the largest table', async () => {
    const entry = Buffer.alloc(32);
    entry.writeBigUInt64BE(2n ** 30n, 0);
    entry.writeUInt32BE(2 ** 20, 8);
    entry.writeUInt32BE(1, 12);
    entry[16] = 1;
    entry[17] = 9;
    entry.writeUInt16BE(8, 18);
    const directory = Buffer.concat(
      Array.from({ length: 10_000 }, (_, i) => {
        const copy = Buffer.from(entry);
        copy.write(String(i).padStart(8, '0'), 24);
        return copy;
      }),
    );
    const extension = Buffer.alloc(32);
    extension.writeUInt32BE(0x23852875, 0);
    extension.writeUInt32BE(24, 4);
    extension.writeUInt32BE(10_000, 8);
    extension.writeBigUInt64BE(BigInt(directory.length), 16);
    extension.writeBigUInt64BE(65536n, 24);
    expect(await bounded(TIB - 512, { 0: header({ clusterBits: 9, extension }), 65536: directory })).toBe(
      'UNSUPPORTED',
    );
  });

  it.each([0, 4, 6])(
    'whose refcount table of order %i names one full block a million times',
    async (order) => {
      for (const clusterBits of [9, 16, 21]) {
        const block = 2 ** 24;
        const report = await bounded(2 ** 38, {
          0: header({
            clusterBits,
            refcountOrder: order,
            refcountTableOffset: 2 ** 21,
            refcountTableClusters: 2 ** (23 - clusterBits),
          }),
          [2 ** 21]: table(2 ** 20, () => block),
          [block]: Buffer.alloc(2 ** clusterBits, 0xff),
        });
        expect(report).toMatchObject({ verdict: 'corrupt' });
      }
    },
  );

  it('whose file has more clusters than QEMU checks', async () => {
    expect(await bounded(2 * TIB, { 0: header({ clusterBits: 9 }) })).toBe('UNSUPPORTED');
  });
});

describe('refcount fields at their bounds', () => {
  it('are judged as QEMU judges them', async () => {
    const path = file('fields.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4k', path, '4M');
    await qemuIo(path, 'write 0 64k');
    const { bytes } = await MadeImage.read(path);
    const offsets = [0n, 1n, 512n, 4096n, 2n ** 40n, 2n ** 52n];
    const cases: [number, number, bigint][] = [
      ...[0n, 1n, 2n, 6n, 7n, 2n ** 31n, 2n ** 32n - 1n].map((value): [number, number, bigint] => [
        96,
        4,
        value,
      ]),
      ...[0n, 2n, 2048n, 2049n, 2n ** 32n - 1n].map((value): [number, number, bigint] => [56, 4, value]),
      ...offsets.map((value): [number, number, bigint] => [48, 8, value]),
      ...offsets.map((value): [number, number, bigint] => [Number(bytes.readBigUInt64BE(48)), 8, value]),
    ];
    for (const [at, length, value] of cases) {
      const changed = Buffer.from(bytes);
      if (length === 4) changed.writeUInt32BE(Number(value), at);
      else changed.writeBigUInt64BE(value, at);
      await writeFile(file('changed.qcow2'), changed);
      const { ours, theirs } = await checkBoth(file('.'), file('changed.qcow2'));
      expect({ at, value, code: ours }).toEqual({ at, value, code: theirs });
    }
  });
});
