import { lstat } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';
import type { StandIn } from '../../qcow2/index.ts';
import type { OpenDisk, OpenDiskOptions } from '../commit/disk.ts';
import { openDisk } from '../commit/open-disk.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { KnownFiles } from '../stat-cache.ts';
import type { Store } from '../store.ts';
import { DiskSource } from '../version/disk-source.ts';
import { hasMap } from '../version/has-map.ts';
import { findDisk, readVersion, type VersionDisk } from '../version/version.ts';
import { type BaseClaim, claimedBase, type OverlayFile } from './doubt.ts';
import { presentOriginKey } from './key.ts';
import { NO_SWEEP } from './named-base.ts';

export interface StoredBaseOptions extends OpenDiskOptions {
  /** The version that a backing file that is gone held, by the user's word. */
  readonly storedBase?: string | undefined;
  /** The disk's name, where that version has several. */
  readonly disk?: string | undefined;
}

/**
 * Opens a disk as {@link openDisk} does; an overlay whose backing file is gone is read on the version that the file held: the one that the
 * user names, or the one that the header names, if this store wrote that and nothing speaks against it.
 * @throws ImgstoreError what {@link openDisk} throws; `USAGE` when the user names a version and nothing is gone
 */
export async function openDiskOnStore(
  store: Store,
  path: string,
  options: StoredBaseOptions,
): Promise<OpenDisk> {
  const { storedBase } = options;
  const asked = storedBase === undefined ? undefined : await askedBase(store, storedBase, options.disk);
  let onto: VersionDisk | undefined;
  let notice = '';
  const standIn: StandIn = async (image, failure) => {
    onto = asked ?? (await provenBase(store, image, failure));
    const name = JSON.stringify(image.header.backingFile);
    const version = onto.version.slice(0, 12);
    notice = `${image.path}: its backing file ${name} is gone: read on disk ${onto.name} of version ${version}, which it held`;
    return new DiskSource(store.objects, onto);
  };
  const disk = await openDisk(path, { ...options, standIn });
  if (onto === undefined) {
    if (asked === undefined) return disk;
    await disk.source.close();
    throw new ImgstoreError(
      'USAGE',
      `${path}: stands on no backing file that is gone: leave out --stored-base`,
      { path },
    );
  }
  const [{ version, name }, { files, bases, notices }] = [onto, disk];
  // What files hold that stand on nothing of their own depends on the disk that stands in.
  const onDisk = (known: KnownFiles): KnownFiles => ({
    ...known,
    format: `${known.format} on ${version} ${name}`,
  });
  return {
    ...disk,
    onto,
    files: files && onDisk(files),
    bases: bases.map((base) => ({ ...base, files: onDisk(base.files) })),
    notices: [...notices, notice],
  };
}

async function askedBase(store: Store, revision: string, name: string | undefined): Promise<VersionDisk> {
  const version = readVersion(store.objects, await resolveCommit(store, revision));
  const disk = findDisk(version, version.disks.length === 1 ? undefined : name);
  if (await hasMap(store.objects, disk.map)) return disk;
  const where = `version ${version.id.slice(0, 12)}: disk ${disk.name}`;
  throw new ImgstoreError('DAMAGED', `${where}: a part of its map is lost: see what 'imgstore fsck' says`, {
    version: version.id,
  });
}

/** The version's disk that the header names. @throws `failure`, with what the header says, when that must not be believed. */
async function provenBase(store: Store, image: OverlayFile, failure: unknown): Promise<VersionDisk> {
  const claim = await claimedBase(image, await presentOriginKey(store));
  if (!isImgstoreError(failure)) throw failure;
  if (claim === undefined) throw failure.code === 'NOT_FOUND' ? withAdvice(failure) : failure;
  if (claim.doubt !== undefined) throw withClaim(failure, claim, claim.doubt);
  // What this store wrote into a header may be looked for anywhere.
  if (!(await isGone(image.path, claim.base.file))) throw failure;
  const commit = await store.sweeps.current(claim.base.commit, NO_SWEEP);
  if (commit === undefined)
    throw withClaim(failure, claim, 'no branch and no tag leads to that version any more');
  const disk = findDisk(readVersion(store.objects, commit), claim.base.disk);
  if (await hasMap(store.objects, disk.map)) return disk;
  throw withClaim(failure, claim, 'a part of that version is lost');
}

function withAdvice(failure: ImgstoreError): ImgstoreError {
  const advice = 'put it there again, or say with --stored-base what it held';
  return new ImgstoreError(failure.code, `${failure.message}: ${advice}`, failure.data, failure);
}

async function isGone(overlay: string, name: string): Promise<boolean> {
  try {
    await lstat(isAbsolute(name) ? name : join(dirname(overlay), name));
    return false;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return ['ENOENT', 'ENOTDIR'].includes(systemCode(error)!);
  }
}

function withClaim(failure: ImgstoreError, { base }: BaseClaim, doubt: string): ImgstoreError {
  const id = base.commit.slice(0, 12);
  return new ImgstoreError(
    failure.code,
    `${failure.message}; the image says that it held version ${id}, but ${doubt}: pass --stored-base with the version that it held if you know it`,
    { ...failure.data, base: base.commit, doubt },
    failure,
  );
}
