import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BlockSource, MemorySource } from '../../../block/index.ts';
import { Qcow2Image } from '../../../qcow2/index.ts';
import { type ClusterPlan, type ImagePlan, makeImage } from '../model-image.ts';
import { extentsOf, noise, readAll } from '../qemu.ts';

const plain = fc.constantFrom<ClusterPlan['kind'] & ('data' | 'zero' | 'unallocated' | 'compressed')>(
  'data',
  'data',
  'zero',
  'unallocated',
  'compressed',
);
const sub = fc.constantFrom('data' as const, 'zero' as const, 'unallocated' as const);

/** Runs of like clusters are common in images, so each plan is repeated a few times. */
function clusters(extended: boolean): fc.Arbitrary<ClusterPlan[]> {
  const one: fc.Arbitrary<ClusterPlan> = extended
    ? fc.oneof(
        plain.map((kind): ClusterPlan => ({ kind })),
        fc
          .array(sub, { minLength: 32, maxLength: 32 })
          .map((list): ClusterPlan => ({ kind: 'sub', sub: list })),
      )
    : plain.map((kind): ClusterPlan => ({ kind }));
  return fc
    .array(fc.tuple(one, fc.integer({ min: 1, max: 5 })), { minLength: 1, maxLength: 30 })
    .map((runs) => runs.flatMap(([cluster, times]) => Array<ClusterPlan>(times).fill(cluster)));
}

const plan = fc.boolean().chain(
  (extendedL2): fc.Arbitrary<ImagePlan> =>
    fc.record({
      extendedL2: fc.constant(extendedL2),
      clusterBits: extendedL2 ? fc.constantFrom(14, 15) : fc.constantFrom(9, 10, 12),
      compression: fc.constantFrom('zlib' as const, 'zstd' as const),
      clusters: clusters(extendedL2),
      shuffle: fc.oneof(fc.constant([]), fc.array(fc.nat({ max: 4 }), { minLength: 150, maxLength: 150 })),
      cut: fc.constantFrom(0, 0, 512),
    }),
);

describe('Qcow2Image', () => {
  it('reads what a model says, over any backing, at any offset', async () => {
    await fc.assert(
      fc.asyncProperty(
        plan.filter(({ cut, clusterBits, clusters: list }) => cut < 2 ** clusterBits * list.length),
        fc.integer({ min: -1, max: 200_000 }),
        fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 3, maxLength: 8 }),
        async (image, backingSize, ranges) => {
          const backing = backingSize < 0 ? undefined : noise(backingSize, 99);
          const { file, expected } = makeImage(image, backing ?? Buffer.alloc(0));
          const source: BlockSource = await Qcow2Image.open(new MemorySource(file), {
            name: 'model.qcow2',
            backing: backing === undefined ? undefined : new MemorySource(backing),
          });
          expect(source.size).toBe(expected.length);
          expect((await readAll(source)).equals(expected)).toBe(true);
          await Promise.all(
            ranges.map(async ([a, b]) => {
              const offset = a % (source.size + 1);
              const length = b % (source.size - offset + 1);
              const into = Buffer.alloc(length, 0xee);
              await source.read(offset, into);
              expect(into.equals(expected.subarray(offset, offset + length))).toBe(true);
              for (const extent of await extentsOf(source, offset, length)) {
                const bytes = expected.subarray(extent.offset, extent.offset + extent.length);
                if (extent.kind !== 'data') expect(bytes.every((byte) => byte === 0)).toBe(true);
              }
            }),
          );
        },
      ),
      { numRuns: 150 },
    );
  });

  it('merges neighbouring extents of one kind', async () => {
    const { file } = makeImage(
      {
        clusterBits: 9,
        extendedL2: false,
        compression: 'zlib',
        clusters: [
          ...Array<ClusterPlan>(100).fill({ kind: 'data' }),
          ...Array<ClusterPlan>(100).fill({ kind: 'zero' }),
          ...Array<ClusterPlan>(100).fill({ kind: 'unallocated' }),
          ...Array<ClusterPlan>(3).fill({ kind: 'compressed' }),
        ],
        shuffle: [],
        cut: 0,
      },
      Buffer.alloc(0),
    );
    const source = await Qcow2Image.open(new MemorySource(file), { name: 'm' });
    expect(await extentsOf(source)).toEqual([
      { offset: 0, length: 51200, kind: 'data' },
      { offset: 51200, length: 51200, kind: 'zero' },
      { offset: 102400, length: 51200, kind: 'hole' },
      { offset: 153600, length: 1536, kind: 'data' },
    ]);
    expect(await extentsOf(source, 51100, 300)).toEqual([
      { offset: 51100, length: 100, kind: 'data' },
      { offset: 51200, length: 200, kind: 'zero' },
    ]);
  });

  it('refuses ranges that leave the disk, and closes everything once', async () => {
    const { file } = makeImage(
      {
        clusterBits: 9,
        extendedL2: false,
        compression: 'zlib',
        clusters: [{ kind: 'data' }],
        shuffle: [],
        cut: 0,
      },
      Buffer.alloc(0),
    );
    const closed: string[] = [];
    const closing = (name: string, bytes: Buffer): BlockSource => {
      const memory = new MemorySource(bytes);
      return Object.assign(memory, { close: async () => void closed.push(name) });
    };
    const source = await Qcow2Image.open(closing('host', file), {
      name: 'm',
      backing: closing('backing', Buffer.alloc(512)),
    });
    await expect(source.read(1, Buffer.alloc(512))).rejects.toMatchObject({ code: 'USAGE' });
    await expect(extentsOf(source, 0, 513)).rejects.toMatchObject({ code: 'USAGE' });
    await source.read(512, Buffer.alloc(0));
    await source.close();
    expect(closed).toEqual(['host', 'backing']);
  });
});
