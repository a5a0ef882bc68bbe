import { realpath } from 'node:fs/promises';
import { dirname, extname, join, relative, resolve } from 'node:path';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { type CompressionType, describeImage, type ImageFormat } from '../../qcow2/index.ts';
import { openDisk } from '../commit/open-disk.ts';
import type { Monitor } from '../progress.ts';
import { shortRefName } from '../refs/name.ts';
import { resolveCommit, resolveRevision } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { trackFile } from '../track/start.ts';
import { diskOfFiles } from '../version/disk-of-files.ts';
import { findDisk, readVersion } from '../version/version.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { backingOf, baseFiles, type ChainPlan, MOST_BASES, writeBaseFiles } from './base-file.ts';
import { changesAgainstFile, changesAgainstVersion } from './changes.ts';
import { type DamagedRange, DamageList } from './damage.ts';
import { type CheckoutJob, countClusters } from './job.ts';
import { refuseTaken } from './output-file.ts';
import { Outputs } from './outputs.ts';
import { refuseInStore, refuseOwnBacking } from './refuse-output.ts';
import { writeFlat, writeOverlay } from './write-file.ts';

/** What the new file stands on: nothing, one file for each earlier version or for each at which history forks, or a file that is there. */
export type Backing = 'none' | 'chain' | 'fork' | { readonly file: string };

export interface CheckoutRequest {
  readonly revision: string;
  /** The file to make; named after the revision in the working directory when not given. */
  readonly output?: string | undefined;
  /** Of a version with several disks. */
  readonly disk?: string | undefined;
  /** By the output's ending when not given: raw for `.raw` and `.img`, else qcow2. */
  readonly format?: ImageFormat | undefined;
  readonly backing?: Backing | undefined;
  /** Of a chain: how many files may lie below the new one, 1 to 64; what lies further back is flattened into the lowest. */
  readonly depth?: number | undefined;
  /** Compresses the clusters of a qcow2 file, and of the files below it that are made too. */
  readonly compress?: CompressionType | undefined;
  /** Folders from which the files below a backing file may come, besides its own. */
  readonly allowBacking?: readonly string[] | undefined;
  /** Replaces a file that is in the way. */
  readonly force?: boolean | undefined;
  /** Leaves as zeros what cannot be read, instead of failing. */
  readonly skipDamaged?: boolean | undefined;
  /** Begins a bitmap in the file, so that committing it reads only what was written to it. */
  readonly track?: boolean | undefined;
}

export interface CheckoutResult {
  /** As given. */
  readonly file: string;
  readonly format: ImageFormat;
  /** Bytes. */
  readonly virtualSize: number;
  /** Bytes of guest data written into this file. */
  readonly writtenBytes: number;
  /** The backing file's name as the header has it. */
  readonly backing: string | null;
  readonly seconds: number;
  /** What could not be read and is zeros, of a checkout that skips what is damaged. */
  readonly damaged?: readonly DamagedRange[];
}

/**
 * Writes a version's disk as a file that QEMU can use. There is never a part of a file, and after a failure no new one.
 * @throws ImgstoreError `NOT_FOUND`, `EXISTS`, `USAGE` (a raw file with a backing file, or compressed; an output that it would stand on),
 * `DAMAGED`, `IO`
 */
export async function checkoutVersion(
  store: Store,
  request: CheckoutRequest,
  monitor: Monitor = {},
): Promise<CheckoutResult> {
  const started = performance.now();
  const commit = await resolveCommit(store, request.revision);
  const version = readVersion(store.objects, commit);
  const disk = findDisk(version, request.disk);
  const backing = request.backing ?? 'none';
  const format = request.format ?? formatFromName(request.output);
  if (format === 'raw' && backing !== 'none')
    throw new ImgstoreError('USAGE', 'a raw file has no backing file: use --format qcow2');
  if (format === 'raw' && request.track)
    throw new ImgstoreError('USAGE', 'a raw file has no bitmap to keep track by: use --format qcow2');
  if (request.skipDamaged && request.track)
    throw new ImgstoreError(
      'USAGE',
      'what is damaged is not the version, and cannot be kept track of: leave out one of --track and --skip-damaged',
    );
  if (format === 'raw' && request.compress !== undefined)
    throw new ImgstoreError('USAGE', 'a raw file cannot be compressed: use --format qcow2');
  refuseBadDepth(backing, request.depth);
  const path =
    request.output ??
    (await defaultOutput(store, request.revision, version.disks.length > 1 ? disk.name : undefined, format));

  const { compress, force = false, allowBacking = [] } = request;
  await refuseInStore(path, store.folder);
  const clusters = await countClusters(store, disk, request.skipDamaged ?? false);
  const workers = new ClusterWorkers(clusters * disk.clusterSize);
  const outputs = new Outputs();
  const damage = request.skipDamaged ? new DamageList() : undefined;
  const output = { path, force, readOnly: false, compress, allowBacking, outputs };
  const job = { store, commit, disk, clusters, ...output, workers, monitor, damage };
  const reading = store.announceReading([commit]);
  try {
    const written =
      format === 'raw' ? await writeWhole(job, 'raw') : await writeLayer(job, backing, request.depth);
    await outputs.publish();
    if (request.track) {
      const below = typeof backing === 'object' ? [dirname(backing.file)] : [];
      const held = { commit, disk: disk.name, clusters };
      await track(store, { path, ...held, allowBacking: [...allowBacking, ...below] }, monitor);
    }
    return {
      file: path,
      format,
      virtualSize: disk.virtualSize,
      ...written,
      seconds: (performance.now() - started) / 1000,
      ...(damage === undefined ? {} : { damaged: damage.ranges() }),
    };
  } finally {
    await outputs.discard();
    await workers.close();
    reading?.withdraw();
  }
}

/** The file is complete: that its bitmap cannot begin is no failure of the checkout. */
async function track(
  store: Store,
  start: Parameters<typeof trackFile>[1],
  { onNotice }: Monitor,
): Promise<void> {
  try {
    await trackFile(store, start);
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    onNotice?.(`${start.path}: the next commit will read all of it: ${error.message}`);
  }
}

/** What was written into the file that was asked for. */
type WrittenLayer = Pick<CheckoutResult, 'writtenBytes' | 'backing'>;

async function writeWhole(job: CheckoutJob, format: ImageFormat): Promise<WrittenLayer> {
  await refuseTaken(job.path, job.force);
  return { writtenBytes: await writeFlat(job, format), backing: null };
}

/** @throws ImgstoreError `USAGE` */
function refuseBadDepth(backing: Backing, depth: number | undefined): void {
  if (depth === undefined) return;
  if (backing !== 'chain' && backing !== 'fork')
    throw new ImgstoreError('USAGE', '--depth is for --backing chain and fork: nothing else writes a chain', {
      depth,
    });
  if (Number.isInteger(depth) && depth >= 1 && depth <= MOST_BASES) return;
  throw new ImgstoreError(
    'USAGE',
    `--depth ${depth}: a chain has 1 to ${MOST_BASES} files below the new one: use --backing none for a file alone`,
    { depth },
  );
}

async function writeLayer(
  job: CheckoutJob,
  backing: Backing,
  depth: number | undefined,
): Promise<WrittenLayer> {
  if (backing === 'none') return writeWhole(job, 'qcow2');
  if (typeof backing === 'object') return writeOnFile(job, backing.file);
  return writeOnChain(job, { forksOnly: backing === 'fork', depth });
}

async function writeOnChain(job: CheckoutJob, plan: ChainPlan): Promise<WrittenLayer> {
  const bases = await baseFiles(job, plan);
  const base = bases.at(-1);
  if (base === undefined) return writeWhole(job, 'qcow2');
  await refuseOwnBacking(
    job.path,
    bases.map(({ path }) => path),
  );
  await refuseTaken(job.path, job.force);
  await writeBaseFiles(job, bases, plan);
  const backing = backingOf(base);
  const changes = changesAgainstVersion(job, base.disk);
  return { writtenBytes: await writeOverlay(job, changes, backing), backing: backing.file };
}

async function writeOnFile(job: CheckoutJob, path: string): Promise<WrittenLayer> {
  const { format } = await describeImage(path);
  const base = await openDisk(path, { allowBacking: job.allowBacking });
  try {
    await refuseOwnBacking(job.path, base.paths);
    await refuseTaken(job.path, job.force);
    const file = await nameFrom(job.path, path);
    // The user named the file, so the new one may be looked at with it.
    const onFile = { ...job, allowBacking: [...job.allowBacking, dirname(path)] };
    const known = await diskOfFiles(job.store, base.files);
    const changes = changesAgainstFile(onFile, base, known);
    const holds = known && { commit: known.version, disk: known.name };
    return { writtenBytes: await writeOverlay(onFile, changes, { file, format, holds }), backing: file };
  } finally {
    await base.source.close();
  }
}

/** The name by which an overlay's header calls its backing file: from the overlay's folder, so that both can move together. */
export async function nameFrom(overlay: string, backing: string): Promise<string> {
  const [folder, file] = await Promise.all([realpath(dirname(resolve(overlay))), realpath(backing)]);
  const name = relative(folder, file);
  // QEMU takes what stands before a colon for a protocol, unless a slash comes first.
  return /^[^/]*:/.test(name) ? `./${name}` : name;
}

export function formatFromName(output: string | undefined): ImageFormat {
  return output !== undefined && ['.raw', '.img'].includes(extname(output).toLowerCase()) ? 'raw' : 'qcow2';
}

/** `web.qcow2` for a branch or tag; with the id for anything else, so that two versions do not get one name. */
export async function defaultOutput(
  store: Store,
  revision: string,
  disk: string | undefined,
  format: ImageFormat,
): Promise<string> {
  const { id, ref } = await resolveRevision(store, revision);
  const name = ref === undefined || ref === 'HEAD' ? id.slice(0, 12) : shortRefName(ref).replaceAll('/', '-');
  return join('.', `${name}${disk === undefined ? '' : `-${disk}`}.${format}`);
}
