import { readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isImgstoreError } from '../../errors/index.ts';
import { type FileRules, PendingFile, passPoint, syncFolder } from '../../files/index.ts';
import { codecs, type ObjectId } from '../../objects/index.ts';
import { FileBytes, Midx, type MidxPlace, type MidxSource, writeMidxInto } from '../../pack/index.ts';

/** Name of a layer: SHA-256 of the names of its packs. */
const LAYER_PATTERN = /^[0-9a-f]{64}\.midx$/;
const IDX_ENDING = '.idx';

/** Packs that are looked into one by one, 5 to 9 µs each for every id; when there are so many, they are joined into a layer. */
export const LEAST_PACKS = 64;
/** While a layer is made its packs' indexes are in memory, and 16 bytes an object: 120 MB. */
const MOST_OBJECTS = 2 ** 21;
/** Indexes of 1 KiB at least. */
const MOST_PACKS = 2 ** 15;
/** A layer of more objects stays as it is. */
const FULL_LAYER = MOST_OBJECTS / 4;
/** A layer that has more packs than so many times those that it would be joined with stays too: so each pack is joined again a few times only, and there are few layers that are not full. */
const GROWTH = 2;

/** Of a pack: what its layer is planned by. */
interface PlannedPack {
  readonly pack: string;
  readonly objects: number;
}

/**
 * One index over many of a bucket's packs, a file of git's multi-pack-index beside theirs. It is made out of them, and says nothing new: when one of its packs leaves the bucket's list, it is of no use any more, since of an
 * object in several packs it has one place.
 */
export class IndexLayer {
  readonly path: string;
  /** Checksums. */
  readonly packs: readonly string[];
  readonly #midx: Midx;
  readonly #file: FileBytes;

  /** @throws ImgstoreError `DAMAGED`, `UNSUPPORTED`, `NOT_FOUND`, `IO` */
  constructor(path: string) {
    this.path = path;
    this.#file = new FileBytes(path);
    try {
      this.#midx = new Midx(this.#file);
    } catch (error) {
      this.#file.close();
      throw error;
    }
    this.packs = this.#midx.packs.map((name) => name.slice(0, -IDX_ENDING.length));
  }

  get count(): number {
    return this.#midx.count;
  }

  /** @returns the pack's checksum, and where in it */
  find(id: ObjectId): MidxPlace | undefined {
    const place = this.#midx.find(id);
    return place && { ...place, pack: place.pack.slice(0, -IDX_ENDING.length) };
  }

  has(id: ObjectId): boolean {
    return this.#midx.ids.find(id) !== undefined;
  }

  close(): void {
    this.#file.close();
  }
}

/** Opens the layers in a folder that are of some packs, each pack in one at most. What is damaged, or not of these packs, is left. @param packs checksums @param isWanted what else they must be */
export function openLayers(
  folder: string,
  packs: ReadonlySet<string>,
  isWanted: (layer: IndexLayer) => boolean,
): IndexLayer[] {
  const { useful, rest } = sortOut(folder, packs, isWanted);
  for (const { layer } of rest) layer?.close();
  return useful.map(({ layer }) => layer);
}

/**
 * Which packs are to be joined into new layers.
 * @param loose packs that are in no layer
 * @param layers of packs of the same kind, of which some are joined with the packs
 * @returns for each new layer its packs, and the layers that go into them
 */
export function planLayers<P extends PlannedPack>(
  loose: readonly P[],
  layers: readonly { readonly layer: IndexLayer; readonly packs: readonly P[] }[],
): { readonly groups: P[][]; readonly merged: IndexLayer[] } {
  const groups: P[][] = [];
  const merged: IndexLayer[] = [];
  if (loose.length < LEAST_PACKS) return { groups, merged };
  let joined = loose;
  for (const { layer, packs } of layers.toSorted((a, b) => a.packs.length - b.packs.length)) {
    if (packs.length > GROWTH * joined.length) break;
    if (layer.count >= FULL_LAYER) continue;
    joined = [...packs, ...joined];
    merged.push(layer);
  }
  let objects = Number.POSITIVE_INFINITY;
  for (const pack of joined) {
    if (objects + pack.objects > MOST_OBJECTS || groups.at(-1)!.length === MOST_PACKS) {
      groups.push([]);
      objects = 0;
    }
    groups.at(-1)!.push(pack);
    objects += pack.objects;
  }
  return { groups, merged };
}

/**
 * Makes a layer.
 * @param read gives the indexes of its packs, by their checksums: called once it is sure that the folder can be written to
 * @returns its path
 * @throws ImgstoreError `IO`, and what `read` throws
 */
export async function writeLayer(
  folder: string,
  { sharing }: FileRules,
  read: () => Promise<readonly Omit<MidxSource, 'mtime'>[]>,
): Promise<string> {
  const file = await PendingFile.create('remote-midx', folder, { sharing });
  try {
    const sources = (await read()).map(({ name, idx }) => ({ name: name + IDX_ENDING, idx, mtime: 0 }));
    const names = sources.map(({ name }) => name).sort();
    const digest = codecs().hash.digest(Buffer.from(names.join('\n')));
    const path = join(folder, `${Buffer.from(digest).toString('hex')}.midx`);
    await writeMidxInto(file, sources);
    await file.sync();
    await file.rename(path);
    await syncFolder('remote-midx', folder);
    return path;
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/** Removes layers of which others have been made. Who has one open reads on; what cannot be removed stays for the next time. */
export async function removeLayers(layers: readonly { readonly path: string }[]): Promise<void> {
  for (const { path } of layers) {
    passPoint('remote-midx.remove', path);
    await rm(path, { force: true }).catch(() => {});
  }
}

/** Removes the layers that are of other packs too, damaged, or covered by others. Who has one open reads on; what cannot be removed stays for the next time. */
export async function removeOldLayers(folder: string, packs: ReadonlySet<string>): Promise<void> {
  const { useful, rest } = sortOut(folder, packs);
  for (const { layer } of [...useful, ...rest]) layer?.close();
  await removeLayers(rest);
}

/** The largest are looked at first: of smaller ones they were made. */
function sortOut(
  folder: string,
  packs: ReadonlySet<string>,
  isWanted: (layer: IndexLayer) => boolean = () => true,
) {
  const all = layerNames(folder)
    .map((name) => ({ path: join(folder, name), layer: tryOpen(join(folder, name)) }))
    .sort((a, b) => (b.layer?.count ?? 0) - (a.layer?.count ?? 0));
  const useful: { readonly path: string; readonly layer: IndexLayer }[] = [];
  const rest: { readonly path: string; readonly layer: IndexLayer | undefined }[] = [];
  const covered = new Set<string>();
  for (const { path, layer } of all) {
    if (layer?.packs.every((pack) => packs.has(pack) && !covered.has(pack)) && isWanted(layer)) {
      for (const pack of layer.packs) covered.add(pack);
      useful.push({ path, layer });
    } else rest.push({ path, layer });
  }
  return { useful, rest };
}

/** Ascending, so that everybody opens the same where there are several of the same packs. */
function layerNames(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => LAYER_PATTERN.test(name))
      .sort();
  } catch {
    return [];
  }
}

/** Undefined for one that is damaged or has just been removed: then its packs are looked into one by one, and joined anew. */
function tryOpen(path: string): IndexLayer | undefined {
  try {
    return new IndexLayer(path);
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}
