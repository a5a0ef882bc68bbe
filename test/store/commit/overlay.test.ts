import { chmod, copyFile, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CommitResult, checkoutVersion, commitVersion } from '../../../store/index.ts';
import { loosePath } from '../../objects/loose/put-loose.ts';
import { qemuBytes, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git, gitFsck } from '../git.ts';
import { newStore, reopen, SMALL, settle, type TestStore } from '../new-store.ts';
import { diskBytes } from './disk-bytes.ts';

const MIB = 2 ** 20;

const commitOf = ({ store, file }: TestStore, name: string): Promise<CommitResult> =>
  commitVersion(store, { disks: [{ name: 'vda', path: file(name) }] });

/** Makes an overlay; `format` is that of the file below. */
async function overlay(
  { file }: TestStore,
  name: string,
  below: string,
  size: string[] = [],
  options: string[] = [],
): Promise<void> {
  const format = below.endsWith('.raw') ? 'raw' : 'qcow2';
  const more = options.flatMap((option) => ['-o', option]);
  await qemuImg('create', '-q', '-f', 'qcow2', ...more, '-b', file(below), '-F', format, file(name), ...size);
}

/** Commits an image and fails unless the version is, cluster by cluster, what a store that knows nothing makes of it, and what QEMU reads. */
async function committedAsWhole(made: TestStore, name: string): Promise<CommitResult> {
  const result = await commitOf(made, name);
  const fresh = await newStore(made.store.clusterSize);
  const whole = await commitVersion(fresh.store, { disks: [{ name: 'vda', path: made.file(name) }] });
  const [got, wanted] = [result.disks[0]!, whole.disks[0]!];
  expect({ map: got.map, clusters: got.clusters }).toEqual({ map: wanted.map, clusters: wanted.clusters });
  return result;
}

/** A store with a base of 1 GiB, of which `written` MiB are written, committed. */
async function withBase(written: number, size = '1G', clusterSize = 65536): Promise<TestStore> {
  const made = await newStore(clusterSize);
  await qemuImg('create', '-q', '-f', 'qcow2', made.file('base.qcow2'), size);
  await qemuIo(made.file('base.qcow2'), `write -P 1 0 ${written}M`);
  await settle();
  await commitOf(made, 'base.qcow2');
  return made;
}

describe('what an overlay on a known file costs', () => {
  test('commitVersion reads 1 MiB when an overlay of a 1 GiB disk holds 1 MiB', async () => {
    const made = await withBase(8);
    await overlay(made, 'top.qcow2', 'base.qcow2');
    await qemuIo(made.file('top.qcow2'), 'write -P 2 2M 512k', 'write -P 3 512M 512k');
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result.disks[0]!.readBytes).toBe(MIB);
    await checkoutVersion(made.store, { revision: 'top', output: made.file('out.qcow2') });
    await qemuImg('compare', made.file('out.qcow2'), made.file('top.qcow2'));
    await gitFsck(made.path);
  });

  test('commitVersion reads nothing when an overlay holds nothing', async () => {
    const made = await withBase(1);
    await overlay(made, 'top.qcow2', 'base.qcow2');
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
  });

  test('commitVersion reads both overlays of two on a known base, and the upper alone when the lower is known', async () => {
    const made = await withBase(8);
    await overlay(made, 'middle.qcow2', 'base.qcow2');
    await qemuIo(made.file('middle.qcow2'), 'write -P 2 1M 1M');
    await overlay(made, 'top.qcow2', 'middle.qcow2');
    await qemuIo(made.file('top.qcow2'), 'write -P 3 4M 1M');
    await settle();
    const both = await committedAsWhole(made, 'top.qcow2');
    expect(both).toMatchObject({ parents: [expect.any(String)], disks: [{ readBytes: 2 * MIB }] });
    const middle = await committedAsWhole(made, 'middle.qcow2');
    expect(middle.disks[0]!.readBytes).toBe(MIB);
    await qemuIo(made.file('top.qcow2'), 'write -P 4 16M 64k');
    const upper = await committedAsWhole(made, 'top.qcow2');
    expect(upper.disks[0]!.readBytes).toBe(MIB + 65536);
  });

  test('commitVersion reads neither zero clusters nor discards of an overlay', async () => {
    const made = await withBase(8);
    await overlay(made, 'top.qcow2', 'base.qcow2');
    await qemuIo(made.file('top.qcow2'), 'write -z 1M 1M', 'write -P 2 4M 64k', 'discard 4M 2M');
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result.disks[0]).toMatchObject({ readBytes: 0, clusters: (5 * MIB) / 65536 });
  });

  test('commitVersion reads a cluster of the store whole when zeros cover a part of it', async () => {
    const made = await withBase(1);
    await overlay(made, 'top.qcow2', 'base.qcow2', [], ['cluster_size=4k']);
    await qemuIo(made.file('top.qcow2'), 'write -z 60k 72k', 'write -z 260k 4k');
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result.disks[0]!.readBytes).toBe(3 * 65536);
  });

  test.each([
    ['extended L2 entries', ['cluster_size=64k,extended_l2=on'], 'write -P 2 100k 2k', 65536],
    ['compressed clusters', [], 'write -c -P 2 128k 64k', 65536],
    ['small clusters', ['cluster_size=512'], 'write -P 2 100k 512', 65536],
    ['large clusters', ['cluster_size=2M'], 'write -P 2 100k 512', 2 * MIB],
    ['an external data file', ['data_file=DATA'], 'write -P 2 100k 64k', 2 * 65536],
  ])(
    'commitVersion reads what an overlay holds by itself when it has %s',
    async (_, options, write, bytes) => {
      const made = await withBase(8);
      const named = options.map((option) => option.replace('DATA', made.file('top.data')));
      await overlay(made, 'top.qcow2', 'base.qcow2', [], named);
      await qemuIo(made.file('top.qcow2'), write);
      const result = await committedAsWhole(made, 'top.qcow2');
      expect(result.disks[0]!.readBytes).toBe(bytes);
    },
  );

  test.each([
    ['larger', '2G', MIB],
    ['smaller', '512M', MIB],
    ['smaller than what the base holds', '4M', MIB],
    ['smaller, within a cluster', String(4 * MIB + 512), MIB + 512],
    ['larger, within a cluster', String(1024 * MIB + 512), MIB],
    ['so large that its map is higher', '2T', MIB],
  ])('commitVersion reads what an overlay holds by itself when its disk is %s', async (_, size, bytes) => {
    const made = await withBase(8);
    await overlay(made, 'top.qcow2', 'base.qcow2', [size]);
    await qemuIo(made.file('top.qcow2'), 'write -P 2 2M 1M');
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result.disks[0]).toMatchObject({ readBytes: bytes });
  });

  test('commitVersion reads the cluster in which a raw base ends', async () => {
    const made = await newStore();
    await writeFile(made.file('base.raw'), diskOf([1, 2, 3], SMALL, 1024));
    await settle();
    await commitOf(made, 'base.raw');
    await overlay(made, 'top.qcow2', 'base.raw', [String(8 * SMALL)]);
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result.disks[0]).toMatchObject({ readBytes: SMALL, clusters: 3 });
  });

  test('commitVersion shows nothing of the base behind the end of a shorter overlay below another', async () => {
    const made = await withBase(8, '16M');
    await overlay(made, 'short.qcow2', 'base.qcow2', ['2M']);
    await overlay(made, 'top.qcow2', 'short.qcow2', ['16M']);
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result.disks[0]).toMatchObject({ readBytes: 0, clusters: (2 * MIB) / 65536 });
    const bytes = await diskBytes(made.store, 'top');
    expect(bytes.equals(await qemuBytes(made.file('top.qcow2')))).toBe(true);
  });
});

/** Sizes of disks and writes in units of 512 bytes: few beginnings meet those of clusters. */
const UNIT = 512;
const write = fc.record({
  command: fc.constantFrom('write -P 7', 'write -P 8', 'write -z', 'write -z -u', 'discard', 'write -c -P 9'),
  at: fc.nat(1000),
  units: fc.integer({ min: 1, max: 200 }),
});
const layer = fc.record({
  units: fc.integer({ min: 100, max: 1300 }),
  clusterSize: fc.constantFrom('512', '4k', '16k', '64k'),
  extended: fc.boolean(),
  writes: fc.array(write, { maxLength: 5 }),
});

/** Writes that fit the disk, as commands of qemu-io; compressed ones are of whole clusters. */
function commandsOf({ units, clusterSize, writes }: LayerPlan): string[] {
  const cluster = clusterSize === '512' ? 1 : (Number.parseInt(clusterSize, 10) * 1024) / UNIT;
  return writes.flatMap(({ command, at, units: count }, i) => {
    const isCompressed = command.includes('-c');
    const first = isCompressed ? at - (at % cluster) : at;
    const length = isCompressed ? cluster : Math.min(count, units - first);
    // QEMU compresses nothing over a cluster that is there.
    return first + length > units || length <= 0 || (isCompressed && i > 0)
      ? []
      : [`${command} ${first * UNIT} ${length * UNIT}`];
  });
}

interface LayerPlan {
  readonly units: number;
  readonly clusterSize: string;
  readonly extended: boolean;
  readonly writes: readonly { readonly command: string; readonly at: number; readonly units: number }[];
}

async function makeLayer(made: TestStore, name: string, below: string | undefined, plan: LayerPlan) {
  const size = String(plan.units * UNIT);
  const isExtended = plan.extended && ['16k', '64k'].includes(plan.clusterSize);
  const options = [`cluster_size=${plan.clusterSize}`, ...(isExtended ? ['extended_l2=on'] : [])];
  if (below !== undefined) await overlay(made, name, below, [size], options);
  else await qemuImg('create', '-q', '-f', 'qcow2', '-o', options.join(','), made.file(name), size);
  const commands = commandsOf(plan);
  if (commands.length > 0) await qemuIo(made.file(name), ...commands);
}

test('commitVersion makes the same of an overlay when it knows the base, whatever both hold', async () => {
  await fc.assert(
    fc.asyncProperty(layer, layer, layer, async (...plans) => {
      const made = await newStore();
      const names = ['base.qcow2', 'middle.qcow2', 'top.qcow2'];
      for (const [i, plan] of plans.entries()) await makeLayer(made, names[i]!, names[i - 1], plan);
      await settle();
      await commitOf(made, 'base.qcow2');
      await committedAsWhole(made, 'top.qcow2');
      await committedAsWhole(made, 'middle.qcow2');
      const bytes = await diskBytes(made.store, 'top');
      expect(bytes.equals(await qemuBytes(made.file('top.qcow2')))).toBe(true);
    }),
    { numRuns: 10 },
  );
});

describe('when the base is not what it was', () => {
  const withOverlay = async () => {
    const made = await withBase(4);
    await overlay(made, 'top.qcow2', 'base.qcow2');
    await qemuIo(made.file('top.qcow2'), 'write -P 2 1M 64k');
    return made;
  };

  test('commitVersion reads all when the base was written to', async () => {
    const made = await withOverlay();
    await qemuIo(made.file('base.qcow2'), 'write -P 9 2M 64k');
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result.disks[0]!.readBytes).toBe(4 * MIB);
  });

  test('commitVersion reads all when the base was written to and its time set back', async () => {
    const made = await withOverlay();
    const base = made.file('base.qcow2');
    const bytes = await readFile(base);
    const known = new Date(Date.now() - 5000);
    await utimes(base, known, known);
    await settle();
    await commitOf(made, 'base.qcow2');
    bytes.fill(7, bytes.length - 65536);
    await writeFile(base, bytes);
    await utimes(base, known, known);
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result.disks[0]!.readBytes).toBe(4 * MIB);
  });

  test('commitVersion reads all when a copy took the place of the base', async () => {
    const made = await withOverlay();
    const base = made.file('base.qcow2');
    await copyFile(base, made.file('copy.qcow2'));
    await qemuIo(made.file('copy.qcow2'), 'write -P 9 2M 64k');
    await copyFile(made.file('copy.qcow2'), base);
    const result = await committedAsWhole(made, 'top.qcow2');
    expect(result.disks[0]!.readBytes).toBe(4 * MIB);
  });

  test('commitVersion reads all when the map of the base is damaged in the store', async () => {
    const made = await withOverlay();
    const leaf = await git(made.path, 'rev-parse', 'base:disks/vda/00');
    const path = loosePath(join(made.path, 'objects'), leaf);
    await chmod(path, 0o600);
    await writeFile(path, 'no object');
    const result = await commitOf({ ...made, store: await reopen(made.path) }, 'top.qcow2');
    expect(result.disks[0]!.readBytes).toBe(4 * MIB);
  });
});
