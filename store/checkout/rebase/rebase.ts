import { existsSync } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InPlaceFile, RawFile } from '../../../block/index.ts';
import { fromSystem, ImgstoreError } from '../../../errors/index.ts';
import { passPoint, syncFolder } from '../../../files/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import {
  describeImage,
  headerOn,
  l2TableOffset,
  type Qcow2Header,
  readHeader,
  refuseUnwritable,
} from '../../../qcow2/index.ts';
import { type OpenDisk, openDisk } from '../../commit/open-disk.ts';
import { encodeOrigin, type Origin, parseOrigin } from '../../origin/extension.ts';
import { originKey } from '../../origin/key.ts';
import { openDiskOnStore } from '../../origin/stored-base.ts';
import type { Monitor } from '../../progress.ts';
import { resolveCommit } from '../../revision/resolve.ts';
import { SETTLE_MS } from '../../stat-cache.ts';
import type { Store } from '../../store.ts';
import { findDisk, readVersion, type VersionDisk } from '../../version/version.ts';
import { ClusterWorkers } from '../../workers/pool.ts';
import { type BaseFile, baseName, writeBaseFiles } from '../base-file.ts';
import { formatFromName, nameFrom } from '../checkout.ts';
import type { InPlaceJob } from '../in-place/job.ts';
import { type CheckoutJob, countClusters } from '../job.ts';
import { Outputs } from '../outputs.ts';
import { refuseInStore, refuseOwnBacking } from '../refuse-output.ts';
import { rememberFile } from '../remember.ts';
import { keepShown } from './keep-shown.ts';
import { findOldBase, type OldBase } from './old-base.ts';

export interface RebaseRequest {
  /** The qcow2 to put onto another file. */
  readonly overlay: string;
  /** The version to put it onto. */
  readonly onto: string;
  /** Of a version with several disks; that of the version before when not given. */
  readonly disk?: string | undefined;
  /** The file that holds that version, or is to; or the folder for it. Beside the overlay when not given. */
  readonly base?: string | undefined;
  /** The version that the backing file held, where it is gone and the header does not say that surely. */
  readonly storedBase?: string | undefined;
  /** Folders from which backing files may come, besides the overlay's own. */
  readonly allowBacking?: readonly string[] | undefined;
}

export interface RebaseResult {
  /** As given. */
  readonly file: string;
  /** The version that it stands on now. */
  readonly onto: ObjectId;
  /** As the header has it. */
  readonly backing: string;
  /** Bytes of guest data that were copied into the overlay, as the new base does not have them. */
  readonly writtenBytes: number;
  readonly seconds: number;
}

/**
 * Puts an overlay onto the disk of another version, with the guest's bytes unchanged. Where the two versions differ and the overlay has nothing, it gets what the one before has. The new base file is complete
 * before anything is written, and the header goes last: a kill at any moment leaves the guest's bytes as they were.
 * @throws ImgstoreError `USAGE`, `NOT_FOUND`, `IN_USE`, `FORBIDDEN`, `EXISTS`, `BAD_IMAGE`, `UNSUPPORTED`, `DAMAGED`, `IO`
 */
export async function rebaseOverlay(
  store: Store,
  request: RebaseRequest,
  monitor: Monitor = {},
): Promise<RebaseResult> {
  const started = performance.now();
  const commit = await resolveCommit(store, request.onto);
  const version = readVersion(store.objects, commit);
  const reading = store.announceReading([commit]);
  const file = await InPlaceFile.open(request.overlay);
  try {
    const rebase = new Rebase(store, request, file, monitor);
    const done = await rebase.run(commit, (name) =>
      findDisk(version, request.disk ?? (version.disks.length > 1 ? name : undefined)),
    );
    return { file: request.overlay, onto: commit, ...done, seconds: (performance.now() - started) / 1000 };
  } finally {
    await file.close();
    reading?.withdraw();
  }
}

class Rebase {
  readonly #store: Store;
  readonly #request: RebaseRequest;
  readonly #file: InPlaceFile;
  readonly #monitor: Monitor;
  readonly #allowBacking: readonly string[];

  constructor(store: Store, request: RebaseRequest, file: InPlaceFile, monitor: Monitor) {
    this.#store = store;
    this.#request = request;
    this.#file = file;
    this.#monitor = monitor;
    this.#allowBacking = request.allowBacking ?? [];
  }

  async run(
    commit: ObjectId,
    diskNamed: (name: string) => VersionDisk,
  ): Promise<Pick<RebaseResult, 'backing' | 'writtenBytes'>> {
    const { overlay: path, storedBase, disk: name } = this.#request;
    const header = await this.#writableHeader();
    const before = {
      allowBacking: this.#allowBacking,
      storedBase,
      disk: name,
      format: 'qcow2',
      forceShare: true,
    } as const;
    const present = await openDiskOnStore(this.#store, path, before);
    const workers = new ClusterWorkers(present.expectedBytes);
    let old: OldBase | undefined;
    try {
      const what = { store: this.#store, workers, monitor: this.#monitor };
      const overlay = { path, header };
      old = await findOldBase({ ...what, overlay, present, allowBacking: this.#allowBacking });
      const disk = diskNamed(old.disk.name);
      this.#refuseOtherClusters(header, [old.disk, disk]);
      const base = { path: await this.#basePath(commit, disk), commit, disk };
      await this.#makeBase(base, workers);
      const backing = await this.#backingOf(base);
      const target = {
        path,
        file: this.#file,
        format: 'qcow2',
        header,
        present,
        close: async () => {},
      } as const;
      const counts = { readBytes: 0, changedBytes: 0, writtenBytes: 0, zeroedBytes: 0 };
      const job: InPlaceJob = { ...what, disk: old.disk, target, counts };
      // Known to fit before anything is written.
      const extension = await this.#origin(header, base, backing.file);
      headerOn(this.#file, header, { ...backing, extension }, path);
      await keepShown(job, header, disk);
      await old.refuseChanged();
      await this.#writeHeader(base, backing);
      await this.#remember(present);
      return { backing: backing.file, writtenBytes: counts.writtenBytes };
    } finally {
      await old?.close();
      await workers.close();
      await present.source.close();
    }
  }

  async #writableHeader(): Promise<Qcow2Header> {
    const { overlay: path } = this.#request;
    const { format } = await describeImage(path);
    const source = await RawFile.open(path);
    try {
      if (format !== 'qcow2') throw unfit(path, 'is a raw disk, which has no backing file');
      const header = await readHeader(source, path);
      if (header.backingFile === undefined) throw unfit(path, 'stands on no backing file');
      if (header.snapshotCount > 0)
        throw unfit(path, 'has internal snapshots, which would show another disk: remove them first');
      await refuseUnwritable(source, header, path);
      return header;
    } finally {
      await source.close();
    }
  }

  #refuseOtherClusters({ clusterBits, extendedL2 }: Qcow2Header, disks: readonly VersionDisk[]): void {
    const other = disks.find(({ clusterSize }) => clusterSize !== 2 ** clusterBits);
    if (other === undefined && !extendedL2) return;
    const why = extendedL2
      ? 'has extended L2 entries'
      : `has clusters of ${2 ** clusterBits} bytes, a version ${other!.clusterSize}`;
    throw unfit(this.#request.overlay, `${why}: use qemu-img rebase`);
  }

  async #basePath(commit: ObjectId, disk: VersionDisk): Promise<string> {
    const { overlay, base } = this.#request;
    const name = baseName(commit, disk);
    if (base === undefined) return join(dirname(resolve(overlay)), name);
    const isFolder = await stat(base).then(
      (stats) => stats.isDirectory(),
      () => false,
    );
    if (isFolder || base.endsWith('/')) return join(base, name);
    if (!existsSync(base) && formatFromName(base) === 'raw')
      throw new ImgstoreError('USAGE', `${base}: a new base file is a qcow2: name it so`, { path: base });
    return base;
  }

  /** Makes the new base file, or makes sure that it holds the version. It is on the disk before the overlay stands on it. */
  async #makeBase(base: BaseFile, workers: ClusterWorkers): Promise<void> {
    const store = this.#store;
    await refuseInStore(base.path, store.folder);
    await refuseOwnBacking(this.#request.overlay, await chainOf(base.path, this.#allowBacking));
    const outputs = new Outputs();
    const clusters = await countClusters(store, base.disk, false);
    const place = {
      force: false,
      readOnly: true,
      compress: undefined,
      allowBacking: this.#allowBacking,
      outputs,
    };
    const job: CheckoutJob = {
      store,
      ...base,
      clusters,
      ...place,
      workers,
      monitor: this.#monitor,
      damage: undefined,
    };
    try {
      await writeBaseFiles(job, [base], { forksOnly: false, depth: undefined });
      await outputs.publish();
    } finally {
      await outputs.discard();
    }
    await syncFile(base.path);
  }

  async #backingOf({ path }: BaseFile): Promise<{ readonly file: string; readonly format: 'qcow2' | 'raw' }> {
    const { format } = await describeImage(path);
    return { file: await nameFrom(this.#request.overlay, path), format };
  }

  /** What the header says from now on, as its tables lie now. Where they show too little, that is for no one to believe. */
  async #origin(header: Qcow2Header, base: BaseFile, file: string) {
    const before = parseOrigin(header.extensions.list);
    const on = { commit: base.commit, disk: base.disk.name };
    const source = await RawFile.open(this.#request.overlay);
    const firstCluster = before?.firstCluster;
    try {
      const clusterSize = 2 ** header.clusterBits;
      const showsWhenEmptied =
        firstCluster !== undefined &&
        header.refcountTableOffset !== clusterSize &&
        (await l2TableOffset(source, header, firstCluster)) === clusterSize;
      const { l1Offset, refcountTableOffset } = header;
      const places = { l1Offset, refcountTableOffset, firstCluster };
      const origin: Origin = {
        ...(before ?? on),
        base: showsWhenEmptied ? { ...on, file } : undefined,
        ...places,
      };
      return encodeOrigin(origin, await originKey(this.#store));
    } finally {
      await source.close();
    }
  }

  /** Puts the image onto the new file, in one write. The refcount table may have moved since the header was read. */
  async #writeHeader(
    base: BaseFile,
    backing: { readonly file: string; readonly format: 'qcow2' | 'raw' },
  ): Promise<void> {
    const { overlay: path } = this.#request;
    const source = await RawFile.open(path);
    try {
      const header = await readHeader(source, path);
      const extension = await this.#origin(header, base, backing.file);
      await this.#file.sync();
      this.#file.write(0, headerOn(this.#file, header, { ...backing, extension }, path));
      await this.#file.sync();
    } finally {
      await source.close();
    }
  }

  /** It holds what it held. */
  async #remember({ files }: OpenDisk): Promise<void> {
    const { overlay: path } = this.#request;
    const known = files === undefined ? undefined : await this.#store.statCache.get(files);
    if (known === undefined) return;
    const mtimeNs = await this.#file.mtimeNs();
    await sleep(SETTLE_MS);
    await rememberFile(
      this.#store,
      { path, format: 'qcow2', allowBacking: this.#allowBacking, mtimeNs },
      known,
    );
  }
}

function unfit(path: string, why: string): ImgstoreError {
  return new ImgstoreError('UNSUPPORTED', `${path}: ${why}`, { path });
}

/** Real paths of a file and of all that it stands on; of one that is not there its own. */
async function chainOf(path: string, allowBacking: readonly string[]): Promise<readonly string[]> {
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  if (!isThere) return [path];
  // It may stand on the overlay, on which the lock is ours.
  const file = await openDisk(path, { allowBacking, forceShare: true });
  await file.source.close();
  return file.paths;
}

/** Makes a file last through a failure of the power, with its name. */
async function syncFile(path: string): Promise<void> {
  try {
    const handle = await open(path);
    try {
      passPoint('rebase.fsync', path);
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fromSystem(error, path);
  }
  await syncFolder('rebase', dirname(resolve(path)));
}
