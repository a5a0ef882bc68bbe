import { type InPlaceFile, RawFile } from '../../../block/index.ts';
import { ImgstoreError } from '../../../errors/index.ts';
import {
  describeImage,
  type HeaderExtension,
  headerAlone,
  headerOn,
  l2TableOffset,
  type Qcow2Header,
  readHeader,
  refuseUnwritable,
} from '../../../qcow2/index.ts';
import { encodeOrigin, type Origin, parseOrigin } from '../../origin/extension.ts';
import { originKey } from '../../origin/key.ts';
import type { Store } from '../../store.ts';
import type { VersionDisk } from '../../version/version.ts';
import type { BaseFile } from '../base-file.ts';

/** An overlay, and what it is to stand on. */
export interface OverlayOnto {
  readonly store: Store;
  readonly path: string;
  readonly file: InPlaceFile;
  readonly base: BaseFile;
  /** As the header names it. */
  readonly backing: { readonly file: string; readonly format: 'qcow2' | 'raw' };
}

/** The header of an overlay that can be moved. @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE`, `IO` */
export async function writableHeader(path: string): Promise<Qcow2Header> {
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

/** The maps of both versions are compared in clusters of the overlay. @throws ImgstoreError `UNSUPPORTED` */
export function refuseOtherClusters(
  path: string,
  { clusterBits, extendedL2 }: Qcow2Header,
  disks: readonly VersionDisk[],
): void {
  const other = disks.find(({ clusterSize }) => clusterSize !== 2 ** clusterBits);
  if (other === undefined && !extendedL2) return;
  const why = extendedL2
    ? 'has extended L2 entries'
    : `has clusters of ${2 ** clusterBits} bytes, a version ${other!.clusterSize}`;
  throw unfit(path, `${why}: use qemu-img rebase`);
}

/** What the header says from then on, as its tables lie now. Where they show too little, that is for no one to believe. */
export async function originOnto(onto: OverlayOnto, header: Qcow2Header): Promise<HeaderExtension> {
  const source = await RawFile.open(onto.path);
  try {
    return await originFrom(onto, header, source);
  } finally {
    await source.close();
  }
}

async function originFrom(
  { store, base, backing }: OverlayOnto,
  header: Qcow2Header,
  source: RawFile,
): Promise<HeaderExtension> {
  const before = parseOrigin(header.extensions.list);
  const on = { commit: base.commit, disk: base.disk.name };
  const firstCluster = before?.firstCluster;
  const clusterSize = 2 ** header.clusterBits;
  const showsWhenEmptied =
    firstCluster !== undefined &&
    header.refcountTableOffset !== clusterSize &&
    (await l2TableOffset(source, header, firstCluster)) === clusterSize;
  const { l1Offset, refcountTableOffset } = header;
  const origin: Origin = {
    ...(before ?? on),
    base: showsWhenEmptied ? { ...on, file: backing.file } : undefined,
    l1Offset,
    refcountTableOffset,
    firstCluster,
  };
  return encodeOrigin(origin, await originKey(store));
}

/** Puts the image onto the new file, in one write. The refcount table may have moved since the header was read. */
export async function rewriteHeader(onto: OverlayOnto): Promise<void> {
  const { path, file, backing } = onto;
  const source = await RawFile.open(path);
  try {
    const header = await readHeader(source, path);
    const extension = await originFrom(onto, header, source);
    await file.sync();
    file.write(0, headerOn(file, header, { ...backing, extension }, path));
    await file.sync();
  } finally {
    await source.close();
  }
}

/** Makes an image stand on nothing, in one write. What was checked out into it, it goes on to say. */
export async function cutTie(store: Store, path: string, file: InPlaceFile): Promise<void> {
  const source = await RawFile.open(path);
  try {
    const header = await readHeader(source, path);
    const before = parseOrigin(header.extensions.list);
    const key = await originKey(store);
    const extension = before && encodeOrigin({ ...before, base: undefined }, key);
    await file.sync();
    file.write(0, headerAlone(file, header, extension, path));
    await file.sync();
  } finally {
    await source.close();
  }
}

function unfit(path: string, why: string): ImgstoreError {
  return new ImgstoreError('UNSUPPORTED', `${path}: ${why}`, { path });
}
