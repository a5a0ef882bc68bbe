import type { ObjectId } from '../../objects/index.ts';
import type { Store } from '../store.ts';
import { type TrustedBitmap, trustedBitmap } from '../track/dirty.ts';
import {
  type BitmapPlace,
  isProvisional,
  parseTrackingName,
  provisionalName,
  trackingName,
} from '../track/name.ts';
import type { LiveDisk } from './find-disks.ts';
import type { ImageFile } from './image-file.ts';
import type { Action, LiveBitmap } from './monitor.ts';
import { MARK } from './scratch.ts';

/** Why a bitmap of a running machine does not have all that was written, if so. */
function flawOf({ inconsistent, recording, persistent, busy }: LiveBitmap): string | undefined {
  if (inconsistent) return 'it was not saved when the image was last written';
  if (!persistent) return 'it is not kept in the image';
  if (busy) return 'something else in the machine uses it';
  return recording ? undefined : 'it is switched off, so later writes are missing in it';
}

/** The bitmap by which the store knows what was written to a disk. */
export type TrustedLive = TrustedBitmap<LiveBitmap & { readonly flaw: string | undefined }>;

/** As `trustedBitmap`, of a disk of a running machine. */
export function trustedLive(
  store: Store,
  bitmaps: readonly LiveBitmap[],
  { place, untracked }: ImageFile,
  tip: ObjectId | undefined,
): Promise<TrustedLive | string | undefined> {
  const named = bitmaps.map((bitmap) => ({ ...bitmap, flaw: flawOf(bitmap) }));
  return trustedBitmap(store, { bitmaps: named, place: untracked === undefined ? place : undefined }, tip);
}

/**
 * The bitmap changes of one disk in a commit. In the beginning a provisional one takes over from the old one, which stops: what it has is what is to be
 * read. When the version is there the provisional one gets its name; if it does not come to that, the old one gets what the provisional one has.
 */
export class BitmapChange {
  readonly #node: string;
  readonly #disk: string;
  readonly #key: Uint8Array;
  readonly #old: string | undefined;
  readonly #provisional: string;

  /** @param old the trusted one */
  constructor(disk: LiveDisk, key: Uint8Array, old: string | undefined) {
    this.#node = disk.node.name;
    this.#disk = disk.name;
    this.#key = key;
    this.#old = old;
    this.#provisional = provisionalName(key, disk.name, old);
  }

  /** What must be gone before: one of the same name, which tells nothing. @param found bitmaps that are there */
  clear(found: readonly LiveBitmap[]): Action[] {
    return found.some(({ name }) => name === this.#provisional) ? [this.#remove(this.#provisional)] : [];
  }

  /** @param scratch node that has the mark @param granularity bytes */
  begin(scratch: string, granularity: number): Action[] {
    const marked = [{ node: scratch, name: MARK }];
    return [
      this.#add(this.#provisional, granularity),
      this.#action('block-dirty-bitmap-merge', { target: this.#provisional, bitmaps: marked }),
      ...(this.#old === undefined ? [] : [this.#action('block-dirty-bitmap-disable', { name: this.#old })]),
    ];
  }

  /** Takes out all of imgstore but the two that are in use. @param found bitmaps that are there */
  clearOthers(found: readonly LiveBitmap[]): Action[] {
    const isOther = ({ name, busy }: LiveBitmap) =>
      parseTrackingName(name) !== undefined && !busy && name !== this.#old && name !== this.#provisional;
    return found.filter(isOther).map(({ name }) => this.#remove(name));
  }

  /** @param commit the version that the disk held at the beginning @param place what the seal is over @param granularity bytes */
  finish(commit: ObjectId, place: BitmapPlace, granularity: number): Action[] {
    const name = trackingName(this.#key, { commit, disk: this.#disk }, place);
    const merge = this.#action('block-dirty-bitmap-merge', { target: name, bitmaps: [this.#provisional] });
    // Nothing has changed since the version of the old one, which goes on.
    const goesOn = name === this.#old;
    const start = goesOn
      ? [
          this.#action('block-dirty-bitmap-clear', { name }),
          this.#action('block-dirty-bitmap-enable', { name }),
        ]
      : [this.#add(name, granularity)];
    const end = goesOn || this.#old === undefined ? [] : [this.#remove(this.#old)];
    return [...start, merge, this.#remove(this.#provisional), ...end];
  }

  /** @param found bitmaps that are there now */
  undo(found: readonly LiveBitmap[]): Action[] {
    if (!found.some(({ name }) => name === this.#provisional)) return [];
    return [
      ...(this.#old === undefined
        ? []
        : [
            this.#action('block-dirty-bitmap-enable', { name: this.#old }),
            this.#action('block-dirty-bitmap-merge', { target: this.#old, bitmaps: [this.#provisional] }),
          ]),
      this.#remove(this.#provisional),
    ];
  }

  #add(name: string, granularity: number): Action {
    return this.#action('block-dirty-bitmap-add', { name, granularity, persistent: true });
  }

  #remove(name: string): Action {
    return this.#action('block-dirty-bitmap-remove', { name });
  }

  #action(type: string, data: Action['data']): Action {
    return { type, data: { node: this.#node, ...data } };
  }
}

/**
 * What a commit that was killed has left to be done: its provisional bitmap goes into the one that stopped when it began. A provisional one
 * that follows none tells nothing.
 */
export function settle(disk: LiveDisk, key: Uint8Array): Action[] {
  const { bitmaps } = disk.node;
  const ours = bitmaps.flatMap((bitmap) => {
    const tracked = parseTrackingName(bitmap.name);
    return tracked === undefined ? [] : [{ bitmap, tracked }];
  });
  for (const { bitmap: old, tracked } of ours) {
    if (isProvisional(tracked) || old.inconsistent || old.busy || old.recording) continue;
    const follows = provisionalName(key, tracked.disk, old.name);
    const next = bitmaps.find(({ name }) => name === follows);
    if (next === undefined || flawOf(next) !== undefined) continue;
    return new BitmapChange({ ...disk, name: tracked.disk }, key, old.name).undo(bitmaps);
  }
  const alone = ours.find(({ tracked }) => isProvisional(tracked))?.bitmap;
  const begun = provisionalName(key, disk.name, undefined);
  return alone?.name === begun && !alone.busy ? new BitmapChange(disk, key, undefined).undo(bitmaps) : [];
}
