import { createHmac } from 'node:crypto';
import type { ObjectId } from '../../objects/index.ts';
import type { KnownFiles } from '../stat-cache.ts';

/** `imgstore-<commit>-<seal>-<disk>`: a bitmap in an image, in which QEMU notes what is written to it after it held a version. */
const PATTERN = /^imgstore-([0-9a-f]{64})-([0-9a-f]{32})-(.+)$/s;
const SEAL_BYTES = 16;

/** The disk of a version that an image held when its bitmap began. */
export interface TrackedDisk {
  readonly commit: ObjectId;
  /** Name of the disk in that version. */
  readonly disk: string;
}

/** What a bitmap is for no other image than this one, and its copies. */
export interface BitmapPlace {
  /** In the image's header; see {@link trackingMark}. */
  readonly mark: Uint8Array;
  /** The image's backing file with all below that; undefined for none. */
  readonly below: KnownFiles | undefined;
}

/**
 * The name of a bitmap. Its seal tells that this store gave it, as anybody may make a bitmap of any name, that it was made in this image, and that the files below that are as they were: what is written to those
 * shows through and is in no bitmap.
 * @param key of the store
 */
export function trackingName(
  key: Uint8Array,
  { commit, disk }: TrackedDisk,
  { mark, below }: BitmapPlace,
): string {
  const what = ['track', commit, disk, Buffer.from(mark).toString('hex')];
  const text = JSON.stringify([...what, below?.format ?? null, below?.identities ?? []]);
  const seal = createHmac('sha256', key).update(text).digest().subarray(0, SEAL_BYTES);
  return `imgstore-${commit}-${seal.toString('hex')}-${disk}`;
}

/** What a bitmap's name says; undefined for one of somebody else. */
export function parseTrackingName(name: string): TrackedDisk | undefined {
  const match = PATTERN.exec(name);
  return match === null ? undefined : { commit: match[1]!, disk: match[3]! };
}
