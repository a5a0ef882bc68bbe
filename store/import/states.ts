import type { BlockSource, ComparedExtent } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import { Qcow2Image, type Snapshot } from '../../qcow2/index.ts';
import { filesAbove, filesOfLayer, layerFacts, type OpenChain } from '../commit/open-chain.ts';
import type { KnownFiles } from '../stat-cache.ts';
import type { SourceFacts } from '../version/image-json.ts';

/** What of an image becomes history. */
export interface WhatToImport {
  /** Each layer of the chain of backing files, not only what all of them are together. */
  readonly chain: boolean;
  /** Each internal snapshot of the top, not only its present state. */
  readonly snapshots: boolean;
}

/** A disk that an image holds: one version of the history that is made of it. */
export interface DiskState {
  /** Real path of the file. */
  readonly file: string;
  /** The internal snapshot that it is. */
  readonly snapshot: Snapshot | undefined;
  /** By what the stat cache knows it. */
  readonly files: KnownFiles | undefined;
  readonly facts: SourceFacts;
  /** When it came to be as it is, in seconds since 1970: when the file was last written, or the snapshot taken. */
  readonly dateSeconds: number;
  /** About how many bytes there are to read beside the state before. */
  readonly expectedBytes: number;
  /** Bytes. */
  readonly virtualSize: number;
  /** Opens the disk; the chain owns it. @throws ImgstoreError `BAD_IMAGE` for a snapshot's tables */
  readonly open: () => Promise<BlockSource>;
}

/** Refuses snapshots of what can have none. @throws ImgstoreError `USAGE` */
export function refuseSnapshotsOfRaw({ path, image }: OpenChain): void {
  if (image.image !== undefined) return;
  throw new ImgstoreError(
    'USAGE',
    `${path}: is a raw disk, which has no internal snapshots: import it without --snapshots`,
    { path },
  );
}

/** The states of an image's disk, oldest first: layers from the lowest up, then snapshots of the top by their dates, then its present. */
export async function statesOf(chain: OpenChain, what: WhatToImport): Promise<DiskState[]> {
  const lower = what.chain ? chain.image.layers.length - 1 : 0;
  const states: DiskState[] = [];
  for (let layer = lower; layer >= 1; layer--) states.push(await layerState(chain, layer));
  const present = await layerState(chain, 0);
  if (what.snapshots) states.push(...(await snapshotStates(chain, present)));
  return [...states, present];
}

async function layerState(chain: OpenChain, layer: number): Promise<DiskState> {
  const { watched, image } = chain;
  const { path, source, files } = image.layers[layer]!;
  const first = filesAbove(chain, layer);
  const own = watched.identities.slice(first, first + files.length);
  const newest = Math.max(...own.map(({ mtimeNs }) => Number(BigInt(mtimeNs) / 1_000_000_000n)));
  const [upTo, above] = [
    await watched.allocatedBytes(first + files.length),
    await watched.allocatedBytes(first),
  ];
  return {
    file: path,
    snapshot: undefined,
    files: filesOfLayer(chain, layer),
    facts: layerFacts(image.layers.slice(layer)),
    dateSeconds: Math.max(0, newest),
    expectedBytes: upTo - above,
    virtualSize: source.size,
    open: () => Promise.resolve(source),
  };
}

async function snapshotStates({ image: { image } }: OpenChain, present: DiskState): Promise<DiskState[]> {
  if (image === undefined) return [];
  const snapshots = [...(await image.snapshots()).entries()];
  // Stable: what was taken at the same time stays in the order of the table, to which QEMU appends.
  snapshots.sort(([, a], [, b]) => a.dateSeconds - b.dateSeconds || a.dateNanoseconds - b.dateNanoseconds);
  return snapshots.map(([index, snapshot]) => ({
    ...present,
    snapshot,
    // By its place in the table: nothing keeps a damaged image from having an id twice.
    files: present.files && { ...present.files, format: `${present.files.format}#${index}` },
    dateSeconds: snapshot.dateSeconds,
    expectedBytes: present.expectedBytes / (snapshots.length + 1),
    virtualSize: snapshot.diskSize ?? present.virtualSize,
    open: () => image.at(snapshot),
  }));
}

/**
 * What a state holds beside the one before it: in the same image, by their tables, else by what the image has that it does not take from below.
 * @throws ImgstoreError as reading it does
 */
export function beside(state: BlockSource, before: BlockSource): AsyncIterable<ComparedExtent> {
  if (!(state instanceof Qcow2Image)) return state.extents(0, state.size);
  const isSameImage = before instanceof Qcow2Image && state.sharesFile(before);
  return isSameImage ? state.extentsSince(before, 0, state.size) : state.extentsAbove(before, 0, state.size);
}
