import type { BlockSource } from '../../block/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { namedBase } from '../origin/named-base.ts';
import type { KnownFile } from '../stat-cache.ts';
import type { Store } from '../store.ts';
import { type DirtyDisk, dirtySince } from '../track/dirty.ts';
import { ClusterCounter } from '../version/count.ts';
import { hasMap } from '../version/has-map.ts';
import { tryReadDisk } from '../version/version.ts';
import type { OpenDisk } from './disk.ts';
import type { HeldDisk } from './disk-map.ts';
import type { IngestBasis } from './ingest.ts';
import { filesOfLayer, type OpenChain } from './open-chain.ts';

/** What the store knows of a disk before it is read. */
export interface KnownDisk {
  /** The disk itself: nothing needs to be read. */
  readonly held: HeldDisk | undefined;
  /** A disk that the image stands on: only what the image holds by itself needs to be read. */
  readonly basis: IngestBasis | undefined;
  /** The version of the nearest disk below that is known, or, for a new branch, that the image's header names. */
  readonly baseVersion: ObjectId | undefined;
  /** About how many bytes there are to read. */
  readonly expectedBytes: number;
}

/** What decides whether a bitmap in an image is to be trusted. */
export interface Tracking {
  /** Of the branch that the disk is committed to; undefined for a new one. */
  readonly tip: ObjectId | undefined;
  readonly onNotice?: ((notice: string) => void) | undefined;
}

/**
 * Asks the stat cache about a disk and those below it. Files that are not as they were, to the nanosecond of their times, are not known.
 */
export async function knownDisk(store: Store, disk: OpenDisk, tracking: Tracking): Promise<KnownDisk> {
  const { files, bases, source, expectedBytes } = disk;
  const own = files === undefined ? [] : [files];
  const found = await store.statCache.getAll([...own, ...bases.map((base) => base.files)]);
  const itself = own.length === 0 ? undefined : found[0];
  const below = found.slice(own.length);
  const knownBelow = below.find((known) => known !== undefined && store.objects.has(known.commit))?.commit;
  const isNew = tracking.tip === undefined;
  const baseVersion = knownBelow ?? disk.onto?.version ?? (isNew ? await namedBase(store, disk) : undefined);
  const held = await heldDisk(store, itself, source.size);
  if (held !== undefined) return { held, basis: undefined, baseVersion, expectedBytes: 0 };
  const noted = files && store.statCache.lastNoted(files);
  const dirty = await dirtySince(store, disk, tracking.tip, noted);
  if (typeof dirty === 'string') tracking.onNotice?.(`${disk.path}: ${untrustedBitmap(dirty)}`);
  else if (dirty !== undefined) return knownByBitmap(dirty, expectedBytes);
  for (const [i, base] of bases.entries()) {
    const heldBase = await heldDisk(store, below[i], base.size);
    if (heldBase === undefined) continue;
    const basis = { held: heldBase, extents: base.extents };
    return { held, basis, baseVersion, expectedBytes: Math.min(expectedBytes, base.bytesAbove) };
  }
  return { held, basis: await standInBasis(store, disk), baseVersion, expectedBytes };
}

/** What is known of a disk by a bitmap of what was written to it. @param bytes of the disk that may have to be read */
export function knownByBitmap({ basis, commit, dirtyBytes }: DirtyDisk, bytes: number): KnownDisk {
  return { held: undefined, basis, baseVersion: commit, expectedBytes: Math.min(bytes, dirtyBytes) };
}

/** What a notice says of a disk. */
export function untrustedBitmap(why: string): string {
  return `its bitmap is not trusted, so all of it is read: ${why}`;
}

/** The version's disk that stands in for a backing file, whose map the caller has found whole. */
async function standInBasis(
  store: Store,
  { onto, extentsAboveStandIn }: OpenDisk,
): Promise<IngestBasis | undefined> {
  if (extentsAboveStandIn === undefined || onto?.clusterSize !== store.clusterSize) return undefined;
  const { virtualSize, map } = onto;
  const clusters = await new ClusterCounter(store.objects.readTree).count(onto);
  return { held: { virtualSize, map, clusters }, extents: extentsAboveStandIn };
}

/**
 * The disk that files are known to hold. The stat cache may outlive a version, or a part of its map: then it is worth nothing.
 * @param virtualSize that it must have, in bytes
 */
export async function heldDisk(
  store: Store,
  known: KnownFile | undefined,
  virtualSize: number,
): Promise<HeldDisk | undefined> {
  if (known === undefined) return undefined;
  const disk = tryReadDisk(store.objects, known);
  if (disk?.virtualSize !== virtualSize || disk.clusterSize !== store.clusterSize) return undefined;
  if (!(await hasMap(store.objects, disk.map))) return undefined;
  return { virtualSize, map: disk.map, clusters: known.clusters };
}

/** The nearest disk below a chain's top that the store knows. */
export interface KnownBase {
  /** Shows through where the layers above hold nothing. The chain owns it. */
  readonly source: BlockSource;
  readonly held: HeldDisk;
  readonly version: ObjectId;
}

/** Asks the stat cache for what lies below the top of a chain. */
export async function knownBase(store: Store, chain: OpenChain): Promise<KnownBase | undefined> {
  const layers = chain.image.layers.slice(1);
  const files = layers.flatMap((_, i) => filesOfLayer(chain, i + 1) ?? []);
  for (const [i, known] of (await store.statCache.getAll(files)).entries()) {
    const { source } = layers[i]!;
    const held = await heldDisk(store, known, source.size);
    if (known !== undefined && held !== undefined) return { source, held, version: known.commit };
  }
  return undefined;
}
