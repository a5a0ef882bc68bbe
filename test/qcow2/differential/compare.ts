import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { BlockSource, Extent, WriteTarget } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import { type CheckReport, checkImage, openImage, Qcow2Writer, type Verdict } from '../../../qcow2/index.ts';
import { extentsOf } from '../qemu.ts';
import { qemu, qemuDone } from './qemu-run.ts';
import type { Random } from './random.ts';

/** The copy goes cluster by cluster, and small ones take their time. */
const MAX_COPY_CLUSTERS = 8000;

/** Fails unless imgstore sees in the image what QEMU sees, and what imgstore writes from it is the same disk. */
export async function compareReading(random: Random, folder: string, path: string): Promise<void> {
  const opened = await openImage(path, { format: 'qcow2' });
  try {
    const { source } = opened;
    const raw = join(folder, 'as.raw');
    const { code, stderr } = await qemu(folder, 'qemu-img', [
      'convert',
      '-f',
      'qcow2',
      '-O',
      'raw',
      path,
      raw,
    ]);
    if (code !== 0) {
      // A writer that was killed can leave what neither can read.
      await expect(readPacked(source), stderr).rejects.toMatchObject({ code: 'BAD_IMAGE' });
      return;
    }
    const expected = await readFile(raw);
    await rm(raw);
    if (source.size !== expected.length) throw new Error(`size ${source.size} is not ${expected.length}`);
    for (let at = 0; at < source.size; ) {
      const bytes = Buffer.alloc(Math.min(random.between(1, 3_000_000), source.size - at), 0xee);
      await source.read(at, bytes);
      const same = expected.subarray(at, at + bytes.length);
      if (!bytes.equals(same))
        throw new Error(`byte ${at + bytes.findIndex((b, i) => b !== same[i])} differs`);
      at += bytes.length;
    }
    const map = await qemuDone(folder, 'qemu-img', ['map', '--output=json', '-f', 'qcow2', path]);
    compareExtents(await extentsOf(source), JSON.parse(map), expected);
    const sizes = [512, 4096, 65536, 2 ** 21].filter((size) => source.size / size < MAX_COPY_CLUSTERS);
    await compareCopy(source, folder, path, random.pick(sizes));
  } finally {
    await opened.source.close();
  }
}

async function readPacked(source: BlockSource): Promise<void> {
  const bytes = Buffer.alloc(65536);
  for (let at = 0; at < source.size; at += bytes.length) {
    await source.read(at, bytes.subarray(0, Math.min(bytes.length, source.size - at)));
  }
}

/**
 * Where QEMU sees no data imgstore must see none. The other way round QEMU is coarser, it takes holes of the file
 * below a cluster for data; there all must be zeros.
 */
function compareExtents(
  ours: readonly Extent[],
  map: readonly { start: number; length: number; data: boolean }[],
  bytes: Buffer,
): void {
  let next = 0;
  for (const { offset, length, kind } of ours) {
    for (let at = offset; at < offset + length; ) {
      while (map[next]!.start + map[next]!.length <= at) next++;
      const theirs = map[next]!;
      const end = Math.min(offset + length, theirs.start + theirs.length);
      if (kind === 'data' && !theirs.data) throw new Error(`${at} to ${end} is no data for QEMU`);
      if (kind !== 'data' && theirs.data && bytes.subarray(at, end).some((byte) => byte !== 0)) {
        throw new Error(`${at} to ${end} is ${kind} but holds data`);
      }
      at = end;
    }
  }
}

/** Writes the disk as a flat image and lets QEMU judge it. */
async function compareCopy(
  source: BlockSource,
  folder: string,
  path: string,
  clusterSize: number,
): Promise<void> {
  const copy = join(folder, 'copy.qcow2');
  const file = await open(copy, 'w');
  const target: WriteTarget = {
    write: async (offset, bytes) => {
      await file.write(bytes, 0, bytes.length, offset);
    },
  };
  const writer = new Qcow2Writer(target, { virtualSize: source.size, clusterSize });
  const held = Buffer.alloc(clusterSize);
  for (let cluster = 0; cluster * clusterSize < source.size; cluster++) {
    const at = cluster * clusterSize;
    const bytes = held.subarray(0, Math.min(clusterSize, source.size - at));
    const extents = await extentsOf(source, at, bytes.length);
    if (extents.every(({ kind }) => kind === 'hole')) continue;
    if (extents.every(({ kind }) => kind !== 'data')) await writer.zero(cluster, 1);
    else {
      await source.read(at, bytes);
      await target.write(await writer.allocate(cluster), bytes);
    }
  }
  await writer.finish();
  await file.close();
  await qemuDone(folder, 'qemu-img', ['check', '-q', '-f', 'qcow2', copy]);
  await qemuDone(folder, 'qemu-img', ['compare', '-q', '-f', 'qcow2', '-F', 'qcow2', path, copy]);
  const { verdict } = await checkImage(copy);
  if (verdict !== 'clean') throw new Error(`the copy is ${verdict}`);
  await rm(copy);
}

const EXIT_CODES: Readonly<Record<Verdict, number>> = { clean: 0, failed: 1, corrupt: 2, leaks: 3 };

/** What both say of an image: exit codes, and the reports where there are any. */
export interface Verdicts {
  readonly ours: number;
  /** -1 when QEMU crashed or came to no end. */
  readonly theirs: number;
  readonly report: CheckReport | undefined;
  /** The message when there is no report. */
  readonly why: string;
  readonly qemuReport: Readonly<Record<string, number>> | undefined;
  readonly qemuSays: string;
}

export async function checkBoth(folder: string, path: string): Promise<Verdicts> {
  const ended = await qemu(folder, 'qemu-img', ['check', '--output=json', '-f', 'qcow2', path]);
  let report: CheckReport | undefined;
  let why = '';
  try {
    report = await checkImage(path, { format: 'qcow2' });
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    why = error.message;
  }
  return {
    ours: report === undefined ? 1 : EXIT_CODES[report.verdict],
    theirs: ended.code,
    report,
    why,
    qemuReport: ended.stdout.startsWith('{') ? JSON.parse(ended.stdout) : undefined,
    qemuSays: ended.stderr,
  };
}

/** Fails unless all counts are equal; QEMU leaves those out that are zero. */
export function compareCounts({ report, qemuReport }: Verdicts): void {
  if (report === undefined || qemuReport === undefined) throw new Error('there is no report');
  const pairs = [
    ['corruptions', report.corruptions],
    ['leaks', report.leaks],
    ['image-end-offset', report.imageEndOffset],
    ['total-clusters', report.totalClusters],
    ['allocated-clusters', report.allocatedClusters],
    ['fragmented-clusters', report.fragmentedClusters],
    ['compressed-clusters', report.compressedClusters],
  ] as const;
  for (const [key, value] of pairs) {
    if (value !== (qemuReport[key] ?? 0)) throw new Error(`${key} is ${value}, not ${qemuReport[key] ?? 0}`);
  }
}
