import { writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemorySource } from '../../../block/index.ts';
import { checkSource } from '../../../qcow2/check/check.ts';
import { Qcow2Image, Qcow2Writer, type Qcow2WriterOptions } from '../../../qcow2/index.ts';
import { MemoryTarget } from '../model-image.ts';
import { noise, qemuBytes, qemuCheck, qemuImg, readAll, tempFolder } from '../qemu.ts';
import { Draft } from './write-image.ts';

const file = tempFolder();

const KINDS = ['skip', 'data', 'zero', 'placed zero', 'compressed', 'share', 'subclusters'] as const;

interface Step {
  readonly kind: (typeof KINDS)[number];
  readonly seed: number;
}

interface ImageDraft {
  readonly options: Omit<Qcow2WriterOptions, 'virtualSize'>;
  /** One list of clusters for each disk, the active one last. */
  readonly disks: readonly (readonly Step[])[];
  /** Sectors missing at the end of each disk's last cluster. */
  readonly cut: number;
}

const v2 = fc.record({
  compat: fc.constant('0.10' as const),
  clusterSize: fc.constantFrom(512, 4096, 16384),
});
const v3 = fc.record({
  clusterSize: fc.constantFrom(512, 1024, 4096, 16384),
  refcountOrder: fc.integer({ min: 0, max: 6 }),
  compressionType: fc.constantFrom('zlib' as const, 'zstd' as const),
});
const extended = fc.record({
  clusterSize: fc.constantFrom(16384, 32768),
  extendedL2: fc.constant(true),
  refcountOrder: fc.integer({ min: 2, max: 6 }),
});
const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom(...KINDS),
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
});
const drafts: fc.Arbitrary<ImageDraft> = fc.record({
  options: fc.oneof(v2, v3, extended),
  disks: fc.array(fc.array(step, { minLength: 1, maxLength: 70 }), { minLength: 1, maxLength: 4 }),
  cut: fc.integer({ min: 0, max: 200 }),
});

/** A cluster of a former disk. */
interface Place {
  readonly offset: number;
  /** Of the stream, for a compressed one. */
  readonly length: number | undefined;
  readonly bytes: Buffer;
}

/** Writes the image; returns it with the bytes of every disk, over `backing`. */
async function write({ options, disks, cut }: ImageDraft, backing: Buffer) {
  const { clusterSize } = options;
  // QEMU applies no snapshot of another size in version 2.
  const shortest = Math.min(...disks.map((steps) => steps.length));
  const walked = options.compat === '0.10' ? disks.map((steps) => steps.slice(0, shortest)) : disks;
  // Nor can it grow a disk that ends within a compressed cluster when there are subclusters: it would zero the rest of it.
  const isCut = !options.extendedL2 || walked.every((steps) => steps.length === walked[0]!.length);
  const missing = isCut ? (cut * 512) % clusterSize : 0;
  const sizeOf = (steps: readonly Step[]) => steps.length * clusterSize - missing;
  const all: Qcow2WriterOptions = {
    ...options,
    virtualSize: sizeOf(walked.at(-1)!),
    backing: clusterSize === 512 ? undefined : { file: 'base.raw', format: 'raw' },
  };
  const below = all.backing === undefined ? Buffer.alloc(0) : backing;
  const target = new MemoryTarget();
  const writer = new Qcow2Writer(target, all);
  const shareable = new Map<number, Place>();
  const expected: Buffer[] = [];
  for (const [index, steps] of walked.entries()) {
    const isActive = index === walked.length - 1;
    if (isActive) await writer.beginActive();
    else {
      const virtualSize = sizeOf(steps);
      await writer.beginSnapshot({ id: `${index}`, name: `n${index}`, date: new Date(index), virtualSize });
    }
    const draft = new Draft(writer, target, all, below, sizeOf(steps));
    for (const [cluster, { kind, seed }] of steps.entries()) {
      const place = shareable.get(seed % 8);
      if (kind === 'data' || (kind === 'share' && place === undefined)) {
        const offset = await draft.data(cluster, seed);
        if (!isActive)
          shareable.set(seed % 8, { offset, length: undefined, bytes: Buffer.from(draft.range(cluster)) });
      } else if (kind === 'zero' || kind === 'placed zero') {
        if (options.compat === '0.10' && below.length === 0) continue;
        await draft.zero(cluster, 1, kind === 'placed zero');
      } else if (kind === 'compressed') {
        const made = await draft.compressed(cluster, seed, (seed % 11) / 10);
        if (!isActive) shareable.set(seed % 8, { ...made, bytes: Buffer.from(draft.range(cluster)) });
      } else if (kind === 'subclusters' && options.extendedL2) {
        await draft.subclusters(cluster, seed % 1000, seed, (~seed & Math.imul(seed, 0x9e37_79b1)) >>> 0);
      } else if (kind === 'share' && place !== undefined) {
        // With narrow refcounts one cluster cannot be shared as often as this draws.
        if ((options.refcountOrder ?? 4) < 4) continue;
        if (place.length === undefined) await writer.share(cluster, place.offset);
        else await writer.shareCompressed(cluster, place.offset, place.length);
        place.bytes.copy(draft.range(cluster));
      }
    }
    expected.push(draft.disk);
  }
  await writer
    .addBitmap({ name: 'b', granularity: 512, dirty: [{ offset: 0, length: 512 }] })
    .catch((error) => {
      if (options.compat !== '0.10') throw error;
    });
  expect(await writer.finish()).toBe(target.bytes.length);
  return { image: target.bytes, expected, below };
}

describe('images of any layout', () => {
  const base = noise(40 * 16384 + 512, 5);

  it('are read by our reader as they were written, and our check finds nothing', async () => {
    await fc.assert(
      fc.asyncProperty(drafts, async (plan) => {
        const { image, expected, below } = await write(plan, base);
        for (const [index, bytes] of expected.entries()) {
          const snapshot = index === expected.length - 1 ? undefined : String(index);
          const backing = new MemorySource(below);
          const disk = await Qcow2Image.open(new MemorySource(image), { name: 'x', backing, snapshot });
          expect(disk.size).toBe(bytes.length);
          expect((await readAll(disk)).equals(bytes)).toBe(true);
        }
        expect(await checkSource(new MemorySource(image), 'x')).toMatchObject({
          verdict: 'clean',
          findings: [],
        });
      }),
      { numRuns: 80 },
    );
  });

  it('are read by QEMU as they were written, and its check finds nothing', async () => {
    await writeFile(file('base.raw'), base);
    let number = 0;
    await fc.assert(
      fc.asyncProperty(drafts, async (plan) => {
        const { image, expected } = await write(plan, base);
        const path = file(`random-${number++}.qcow2`);
        await writeFile(path, image);
        await qemuCheck(path);
        expect((await qemuBytes(path)).equals(expected.at(-1)!)).toBe(true);
        // To apply a snapshot is to share all of it once more.
        if ((plan.options.refcountOrder ?? 4) < 4) return;
        // QEMU applies no snapshots while there are bitmaps.
        if (plan.options.compat !== '0.10') await qemuImg('bitmap', '--remove', path, 'b');
        for (const [index, bytes] of expected.slice(0, -1).entries()) {
          await qemuImg('snapshot', '-a', String(index), path);
          expect((await qemuBytes(path)).equals(bytes)).toBe(true);
        }
        await qemuCheck(path);
      }),
      { numRuns: 15 },
    );
  });
});
