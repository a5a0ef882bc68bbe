import { createHmac } from 'node:crypto';
import { NULL_ID, type ObjectId } from '../../objects/index.ts';
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
  return sealed(key, { commit, disk }, [...what, below?.format ?? null, below?.identities ?? []]);
}

/**
 * The name of a bitmap that begins before the version is made whose bitmap it is to be: that of no version.
 * @param key of the store @param follows name of the bitmap that stopped when it began, which together with it has all that was written
 */
export function provisionalName(key: Uint8Array, disk: string, follows: string | undefined): string {
  return sealed(key, { commit: NULL_ID, disk }, ['live', disk, follows ?? null]);
}

/** Whether a bitmap's name is a {@link provisionalName}. */
export function isProvisional({ commit }: TrackedDisk): boolean {
  return commit === NULL_ID;
}

function sealed(key: Uint8Array, { commit, disk }: TrackedDisk, content: readonly unknown[]): string {
  const seal = createHmac('sha256', key).update(JSON.stringify(content)).digest().subarray(0, SEAL_BYTES);
  return `imgstore-${commit}-${seal.toString('hex')}-${disk}`;
}

/** What a bitmap's name says; undefined for one of somebody else. */
export function parseTrackingName(name: string): TrackedDisk | undefined {
  const match = PATTERN.exec(name);
  return match === null ? undefined : { commit: match[1]!, disk: match[3]! };
}
