import { dirname } from 'node:path';
import { type BlockSource, InPlaceFile, isZero, RawFile } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import { PendingFile, removeLeftBehindIn, syncFolder } from '../../../files/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import { clusterCount } from '../../../objects/index.ts';
import {
  headerOn,
  ImageUpdate,
  type Qcow2Header,
  Qcow2Writer,
  readHeader,
  refuseUnwritable,
  type TablePlaces,
  wholeSectors,
} from '../../../qcow2/index.ts';
import { claimedBase } from '../../origin/doubt.ts';
import { encodeOrigin } from '../../origin/extension.ts';
import { originKey } from '../../origin/key.ts';
import type { Store } from '../../store.ts';
import { clusterLength } from '../../version/disk-source.ts';
import { hasMap } from '../../version/has-map.ts';
import { findDisk, readVersion, type VersionDisk } from '../../version/version.ts';
import { ClusterSet } from './cluster-set.ts';
import { OverlayDisk } from './overlay-disk.ts';

/** How a session's overlay names what it stands on, for QEMU: the URI of a version's export; undefined to leave it as it is. */
export type BackingName = (disk: VersionDisk) => string | undefined;

/** An overlay that is open for writing. */
export interface OpenOverlay {
  readonly disk: OverlayDisk;
  /** What it stands on. */
  readonly base: VersionDisk;
}

/**
 * Makes the overlay of a new session. It has an entry for the first cluster: by one that has none nobody could tell that it was emptied later.
 * @throws ImgstoreError `IO`, with `EEXIST` as `system` when the file is there; `UNSUPPORTED`
 */
export async function makeOverlay(
  store: Store,
  path: string,
  { base, source, backing: uri }: { base: VersionDisk; source: BlockSource; backing: string },
): Promise<void> {
  refuseUnfit(store, base);
  const backing = { file: uri, format: 'raw' as const };
  const key = await originKey(store);
  await removeLeftBehindIn('overlay', dirname(path), 'tmp_overlay');
  const file = await PendingFile.create('overlay', dirname(path), {
    mode: 0o600,
    sharing: store.rules.sharing,
    label: path,
  });
  try {
    const writer = new Qcow2Writer(file, {
      virtualSize: base.virtualSize,
      clusterSize: base.clusterSize,
      backing,
      lateExtension: (places) => encodeOrigin(originOf(base, backing.file, places), key),
    });
    const first = Buffer.alloc(clusterLength(base, 0));
    await source.read(0, first);
    if (isZero(first)) await writer.zero(0, 1);
    else await file.write(await writer.allocate(0), first);
    await writer.finish();
    await file.sync();
    await file.claim(path);
    await syncFolder('overlay', dirname(path));
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/**
 * Opens the overlay of a session that was there before, on the version that its header names. All that it holds counts as changed.
 * @param openSource opens the version's disk
 * @throws ImgstoreError `NOT_FOUND`, `IN_USE`, `BAD_IMAGE` when the header must not be believed, `UNSUPPORTED` for what this server did not write, `DAMAGED` when the version is lost
 */
export async function openOverlay(
  store: Store,
  path: string,
  options: { openSource: (disk: VersionDisk) => BlockSource; backingName: BackingName },
): Promise<OpenOverlay> {
  const file = await InPlaceFile.open(path);
  try {
    const { header, base } = await readOverlay(store, path);
    const update = new ImageUpdate(file, header, path);
    const changed = await allocatedClusters(update, base, path);
    const seal = new OverlaySeal(store, file, { header, base, path });
    const backing = options.backingName(base);
    if (backing !== undefined && backing !== header.backingFile) await seal.write(update, backing);
    const source = options.openSource(base);
    const onApplied = () => seal.keep(update);
    return { disk: new OverlayDisk({ file, update, base: source, changed, onApplied }), base };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** The header of an overlay, and the version's disk that it names. @throws as {@link openOverlay} */
export async function readOverlay(
  store: Store,
  path: string,
): Promise<{ readonly header: Qcow2Header; readonly base: VersionDisk }> {
  const source = await RawFile.open(path);
  try {
    const header = await readHeader(source, path);
    const claim = await claimedBase({ path, header }, await originKey(store));
    if (claim?.doubt !== undefined || claim === undefined)
      throw unfit(
        path,
        `does not say surely what it stands on: ${claim?.doubt ?? 'no imgstore has made it'}`,
        claim?.base.commit,
      );
    if (header.extendedL2) throw unfit(path, 'has extended L2 entries', claim.base.commit);
    await refuseUnwritable(source, header, path);
    const base = await storedDisk(store, path, claim.base);
    refuseUnfit(store, base);
    const isAsBase =
      header.virtualSize === wholeSectors(base.virtualSize) && 2 ** header.clusterBits === base.clusterSize;
    if (!isAsBase) throw unfit(path, 'was resized', claim.base.commit);
    return { header, base };
  } finally {
    await source.close();
  }
}

async function storedDisk(
  store: Store,
  path: string,
  { commit, disk: name }: { readonly commit: ObjectId; readonly disk: string },
): Promise<VersionDisk> {
  // Another process may have gathered objects into packs since this one looked.
  store.objects.packs.refresh();
  if (store.objects.has(commit)) {
    const disk = findDisk(readVersion(store.objects, commit), name);
    if (await hasMap(store.objects, disk.map)) return disk;
  }
  throw new ImgstoreError(
    'DAMAGED',
    `${path}: stands on version ${commit.slice(0, 12)}, which is gone from the store or damaged: see what 'imgstore fsck' says`,
    { path, commit },
  );
}

/** Why no session can have a disk; undefined when one can. */
export function unfitFor(store: Store, { virtualSize, clusterSize }: VersionDisk): string | undefined {
  if (virtualSize === 0) return 'has no bytes that could be written';
  return clusterSize === store.clusterSize
    ? undefined
    : `has clusters of ${clusterSize} bytes, the store ${store.clusterSize}: commit it anew first`;
}

/** @throws ImgstoreError `UNSUPPORTED` for a disk that no session can have */
function refuseUnfit(store: Store, disk: VersionDisk): void {
  const { version, name } = disk;
  const why = unfitFor(store, disk);
  const where = `version ${version.slice(0, 12)}: disk ${name}`;
  if (why !== undefined) throw new ImgstoreError('UNSUPPORTED', `${where}: ${why}`, { version, name });
}

async function allocatedClusters(update: ImageUpdate, base: VersionDisk, path: string): Promise<ClusterSet> {
  const allocated = new ClusterSet();
  const end = clusterCount(base.virtualSize, base.clusterSize);
  for (let cluster = 0; cluster < end; ) {
    const { kind, count } = update.lookUp(cluster, end - cluster);
    if (kind === 'other') throw unfit(path, 'has compressed clusters', base.version);
    if (kind !== 'unallocated') for (let i = 0; i < count; i++) allocated.add(cluster + i);
    cluster += count;
    if (update.isFull) await update.apply();
  }
  return allocated;
}

/** Keeps the header's word on the base true when the tables that it goes by move: who empties an image moves them too. */
class OverlaySeal {
  readonly #store: Store;
  readonly #file: InPlaceFile;
  readonly #header: Qcow2Header;
  readonly #base: VersionDisk;
  readonly #path: string;
  #backing: string;
  #refcountTableOffset: number;

  constructor(
    store: Store,
    file: InPlaceFile,
    { header, base, path }: { header: Qcow2Header; base: VersionDisk; path: string },
  ) {
    this.#store = store;
    this.#file = file;
    this.#header = header;
    this.#base = base;
    this.#path = path;
    this.#backing = header.backingFile!;
    this.#refcountTableOffset = header.refcountTableOffset;
  }

  async keep(update: ImageUpdate): Promise<void> {
    if (update.refcountTableOffset !== this.#refcountTableOffset) await this.write(update, this.#backing);
  }

  async write({ refcountTableOffset }: ImageUpdate, backing: string): Promise<void> {
    const { l1Offset } = this.#header;
    const origin = originOf(this.#base, backing, { l1Offset, refcountTableOffset });
    const extension = encodeOrigin(origin, await originKey(this.#store));
    const onto = { file: backing, format: 'raw' as const, extension };
    this.#file.write(0, headerOn(this.#file, this.#header, onto, this.#path));
    await this.#file.sync();
    this.#backing = backing;
    this.#refcountTableOffset = refcountTableOffset;
  }
}

function originOf({ version: commit, name: disk }: VersionDisk, file: string, places: TablePlaces) {
  return { commit, disk, base: { commit, disk, file }, firstCluster: 0, ...places };
}

function unfit(path: string, why: string, commit: ObjectId | undefined): ImgstoreError {
  const base = commit?.slice(0, 12) ?? 'REV';
  return new ImgstoreError(
    'BAD_IMAGE',
    `${path}: ${why}: no session can go on with it: store it with 'imgstore commit --stored-base ${base}', then move it away`,
    { path },
  );
}
