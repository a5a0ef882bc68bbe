import { fstatSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { InPlaceFile, usedByQemu } from '../../block/index.ts';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { isNbdUri } from '../../nbd/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { OpenDisk } from '../commit/disk.ts';
import type { HeldDisk } from '../commit/disk-map.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { beganAt } from './dirty.ts';
import { isTracked, startTracking } from './start.ts';

/** How images are committed. */
export interface TrackingRequest {
  /** Begins bitmaps where there are none. */
  readonly track?: boolean | undefined;
  readonly forceShare?: boolean | undefined;
  readonly allowBacking?: readonly string[] | undefined;
}

/** The images of a commit that are kept track of. They are locked from before they are read until their bitmaps have begun anew: what was written in between would be missing. */
export class TrackedImages {
  readonly #store: Store;
  readonly #request: TrackingRequest;
  readonly #monitor: Monitor;
  readonly #files = new Map<string, InPlaceFile>();

  constructor(store: Store, request: TrackingRequest, monitor: Monitor) {
    this.#store = store;
    this.#request = request;
    this.#monitor = monitor;
  }

  /** Takes the locks on an image that is kept track of, or is to be. Returns whether they are taken. @throws ImgstoreError `IN_USE`, `NOT_FOUND`, `IO`; `USAGE` for a file that is locked here already, as another disk */
  async lock(path: string): Promise<boolean> {
    const { track = false, forceShare = false } = this.#request;
    if (isNbdUri(path)) {
      if (track) this.#notTracked(path, 'only files can be');
      return false;
    }
    if (!track && !(await isTracked(path))) return false;
    if (forceShare) {
      // A QEMU that has it open keeps its bitmaps in memory.
      this.#notTracked(path, 'it is shared with others');
      return false;
    }
    await this.#refuseTwice(path);
    try {
      this.#files.set(path, await InPlaceFile.open(path));
      return true;
    } catch (error) {
      if (!isImgstoreError(error) || !(await canBeRead(path, error))) throw error;
      this.#notTracked(path, error.message);
      return false;
    }
  }

  /** Begins a bitmap, now that the version is in the store. That it cannot be is no failure of the commit. @returns whether one has begun: then the file, which has changed by that, is remembered */
  async start(
    opened: OpenDisk,
    commit: ObjectId,
    disk: HeldDisk & { readonly name: string },
  ): Promise<boolean> {
    const { path } = opened;
    const file = this.#files.get(path);
    if (file === undefined) return false;
    this.#files.delete(path);
    if (opened.bitmaps === undefined) {
      // What the file holds as a raw disk says nothing of the disk in it.
      if (this.#request.track)
        this.#notTracked(path, 'only a qcow2 that is read as one can be kept track of');
      await file.close();
      return false;
    }
    try {
      if (await beganAt(this.#store, opened, { commit, disk: disk.name })) {
        await file.close();
        return false;
      }
      const { allowBacking = [] } = this.#request;
      const held = { commit, disk: disk.name, clusters: disk.clusters };
      await startTracking(this.#store, { path, file, opened, allowBacking, ...held });
      return true;
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      this.#notTracked(path, error.message);
      return false;
    }
  }

  /** Lets go of images that no bitmap was begun in. */
  async close(): Promise<void> {
    for (const file of this.#files.values()) await file.close();
    this.#files.clear();
  }

  /** The bitmap of a file begins at one disk, and its locks are taken once. By links it may have several names. @throws ImgstoreError `USAGE` */
  async #refuseTwice(path: string): Promise<void> {
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    for (const [other, { fd }] of this.#files) {
      const { dev, ino } = fstatSync(fd, { bigint: true });
      if (dev !== found?.dev || ino !== found.ino) continue;
      const which = other === path ? 'is named twice' : `is the same file as ${other}`;
      throw new ImgstoreError(
        'USAGE',
        `${path}: ${which}: what is kept track of can be one disk of a version: name it once`,
        { path, other },
      );
    }
  }

  #notTracked(path: string, why: string): void {
    this.#monitor.onNotice?.(`${path}: the next commit will read all of it: ${why}`);
  }
}

const MAY_NOT_WRITE: readonly unknown[] = ['EROFS', 'EACCES', 'EPERM'];

/** Whether an image that cannot be locked for writing can be committed as any other is: what is for reading only, or open for that. */
async function canBeRead(path: string, { code, data }: ImgstoreError): Promise<boolean> {
  if (code === 'IN_USE') return (await usedByQemu(path)) === 'reading';
  return code === 'FORBIDDEN' || MAY_NOT_WRITE.includes(data.system);
}
