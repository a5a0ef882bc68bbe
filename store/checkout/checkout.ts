import { realpath } from 'node:fs/promises';
import { basename, dirname, extname, join, relative, resolve } from 'node:path';
import { ImgstoreError } from '../../errors/index.ts';
import { type CompressionType, describeImage, type ImageFormat } from '../../qcow2/index.ts';
import type { Monitor } from '../progress.ts';
import { shortRefName } from '../refs/name.ts';
import { resolveCommit, resolveRevision } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { findDisk, readVersion } from '../version/version.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { checkoutBase } from './base-file.ts';
import { changesAgainstFile, changesAgainstVersion } from './changes.ts';
import { type CheckoutJob, countClusters } from './job.ts';
import { writeFlat, writeOverlay } from './write-file.ts';

/** What the new file stands on: nothing, one file for each earlier version, or a file that is there. */
export type Backing = 'none' | 'chain' | { readonly file: string };

export interface CheckoutRequest {
  readonly revision: string;
  /** The file to make; named after the revision in the working directory when not given. */
  readonly output?: string | undefined;
  /** Of a version with several disks. */
  readonly disk?: string | undefined;
  /** By the output's ending when not given: raw for `.raw` and `.img`, else qcow2. */
  readonly format?: ImageFormat | undefined;
  readonly backing?: Backing | undefined;
  /** Compresses the clusters of a qcow2 file, and of the files below it that are made too. */
  readonly compress?: CompressionType | undefined;
  /** Replaces a file that is in the way. */
  readonly force?: boolean | undefined;
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
}

/**
 * Writes a version's disk as a file that QEMU can use. There is never a part of a file.
 * @throws ImgstoreError `NOT_FOUND`, `EXISTS`, `USAGE` (a raw file with a backing file, or compressed), `DAMAGED`, `IO`
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
  if (format === 'raw' && request.compress !== undefined)
    throw new ImgstoreError('USAGE', 'a raw file cannot be compressed: use --format qcow2');
  const path =
    request.output ??
    (await defaultOutput(store, request.revision, version.disks.length > 1 ? disk.name : undefined, format));

  const clusters = await countClusters(store, disk);
  const workers = new ClusterWorkers(clusters * disk.clusterSize);
  try {
    const force = request.force ?? false;
    const { compress } = request;
    const job = { store, commit, disk, clusters, path, force, readOnly: false, compress, workers, monitor };
    const written =
      format === 'raw'
        ? { writtenBytes: await writeFlat(job, 'raw'), backing: null }
        : await writeLayer(job, backing);
    return {
      file: path,
      format,
      virtualSize: disk.virtualSize,
      ...written,
      seconds: (performance.now() - started) / 1000,
    };
  } finally {
    await workers.close();
  }
}

async function writeLayer(
  job: CheckoutJob,
  backing: Backing,
): Promise<{ readonly writtenBytes: number; readonly backing: string | null }> {
  if (backing === 'none') return { writtenBytes: await writeFlat(job, 'qcow2'), backing: null };
  if (backing === 'chain') {
    const base = await checkoutBase(job);
    if (base === undefined) return { writtenBytes: await writeFlat(job, 'qcow2'), backing: null };
    const file = basename(base.path);
    const changes = changesAgainstVersion(job, base.disk);
    return { writtenBytes: await writeOverlay(job, changes, { file, format: 'qcow2' }), backing: file };
  }
  const { format } = await describeImage(backing.file);
  const file = await nameFrom(job.path, backing.file);
  const changes = changesAgainstFile(job, backing.file);
  return { writtenBytes: await writeOverlay(job, changes, { file, format }), backing: file };
}

/** The name by which an overlay's header calls its backing file: from the overlay's folder, so that both can move together. */
async function nameFrom(overlay: string, backing: string): Promise<string> {
  const [folder, file] = await Promise.all([realpath(dirname(resolve(overlay))), realpath(backing)]);
  if (join(folder, basename(overlay)) === file) {
    throw new ImgstoreError('USAGE', `${overlay}: cannot be its own backing file`, { path: overlay });
  }
  const name = relative(folder, file);
  // QEMU takes what stands before a colon for a protocol, unless a slash comes first.
  return /^[^/]*:/.test(name) ? `./${name}` : name;
}

function formatFromName(output: string | undefined): ImageFormat {
  return output !== undefined && ['.raw', '.img'].includes(extname(output).toLowerCase()) ? 'raw' : 'qcow2';
}

/** `web.qcow2` for a branch or tag; with the id for anything else, so that two versions do not get one name. */
async function defaultOutput(
  store: Store,
  revision: string,
  disk: string | undefined,
  format: ImageFormat,
): Promise<string> {
  const { id, ref } = await resolveRevision(store, revision);
  const name = ref === undefined || ref === 'HEAD' ? id.slice(0, 12) : shortRefName(ref).replaceAll('/', '-');
  return join('.', `${name}${disk === undefined ? '' : `-${disk}`}.${format}`);
}
