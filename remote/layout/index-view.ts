import { isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { EntryEnds, PACK_TRAILER_BYTES } from '../../pack/index.ts';
import { IndexLayer, LEAST_PACKS, openLayers, planLayers, removeLayers, writeLayer } from './index-layers.ts';
import type { KeptIndexes, OpenIndex } from './kept-indexes.ts';
import { inLayer, inPack, type LookUp } from './look-up.ts';
import type { PackKind, RemotePack } from './state.ts';

/** Where an object lies in a bucket. */
export interface RemotePlace {
  readonly pack: RemotePack;
  /** In the pack's index. */
  readonly position: number;
  /** Byte of the pack at which the entry begins. */
  readonly offset: number;
}

/** Some packs of a bucket, with all that is looked into open. */
export class IndexView {
  /** By checksum. */
  readonly packs: ReadonlyMap<string, RemotePack>;
  readonly layers: readonly IndexLayer[];
  readonly #kept: KeptIndexes;
  readonly #open: Map<string, OpenIndex>;
  /** Of maps first, as what leads to clusters is meant to be read from there wherever else it is; then the most recently added, as what is looked for together was mostly pushed together. */
  readonly #places: readonly LookUp[];
  readonly #ends = new Map<string, EntryEnds>();

  /** @param open at least those of packs that are in no layer */
  constructor(
    kept: KeptIndexes,
    packs: ReadonlyMap<string, RemotePack>,
    layers: readonly IndexLayer[],
    open: Map<string, OpenIndex>,
  ) {
    this.#kept = kept;
    this.packs = packs;
    this.layers = layers;
    this.#open = open;
    const loose = looseOf(packs, layers).map((row) => inPack(row, open.get(row.pack)!.idx));
    const places = [...loose.reverse(), ...layers.map((layer) => inLayer(layer, kindOf(packs, layer)!))];
    const isData = ({ kind }: LookUp) => Number(kind === 'data');
    this.#places = places.sort((a, b) => isData(a) - isData(b));
  }

  find(id: ObjectId): RemotePlace | undefined {
    for (const { find } of this.#places) {
      const found = find(id);
      if (found === undefined) continue;
      const pack = this.packs.get(found.pack)!;
      const position = this.of(pack).idx.find(id);
      if (position === undefined) throw this.#kept.damaged(pack, 'has not what the layer over it has');
      return { pack, position, offset: found.offset };
    }
    return undefined;
  }

  has(id: ObjectId, kind?: PackKind): boolean {
    return this.#places.some((place) => (kind === undefined || place.kind === kind) && place.has(id));
  }

  of({ pack }: RemotePack): OpenIndex {
    const row = this.packs.get(pack);
    if (row === undefined) throw new RangeError(`pack ${pack} is not in use`);
    let open = this.#open.get(pack);
    if (open === undefined) {
      open = this.#kept.open(row);
      this.#open.set(pack, open);
    }
    return open;
  }

  entryEnd(pack: RemotePack, offset: number): number {
    let ends = this.#ends.get(pack.pack);
    if (ends === undefined) {
      ends = new EntryEnds(this.of(pack).idx, pack.bytes - PACK_TRAILER_BYTES);
      this.#ends.set(pack.pack, ends);
    }
    return ends.of(offset);
  }

  /** What of some packs is open. */
  openOf(packs: ReadonlyMap<string, RemotePack>): Map<string, OpenIndex> {
    return new Map([...this.#open].filter(([pack]) => packs.has(pack)));
  }

  /** Closes all but what another view has taken over. */
  close(next?: IndexView): void {
    for (const [pack, open] of this.#open) {
      const taken = next?.packs.has(pack) ? (next.#open.get(pack) ?? open) : undefined;
      if (taken === open) next!.#open.set(pack, open);
      else open.file.close();
    }
    for (const layer of this.layers) if (!next?.layers.includes(layer)) layer.close();
  }
}

/**
 * A view of some packs whose indexes are kept. Nothing of the view before is closed, which may be looked into meanwhile.
 * @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `REMOTE_…`, `IO`; nothing is open then that was not before
 */
export async function nextView(
  kept: KeptIndexes,
  packs: ReadonlyMap<string, RemotePack>,
  before: IndexView,
): Promise<IndexView> {
  const open = before.openOf(packs);
  const opened: OpenIndex[] = [];
  let layers = before.layers.filter((layer) => kindOf(packs, layer) !== undefined);
  try {
    const loose = looseOf(packs, layers).map(({ pack }) => pack);
    if (loose.length >= LEAST_PACKS) {
      const isOfOneKind = (layer: IndexLayer) => kindOf(packs, layer) !== undefined;
      layers = [...layers, ...openLayers(kept.folder, new Set(loose), isOfOneKind)];
      for (const kind of ['data', 'maps'] as const) layers = await joined(kept, packs, layers, kind, before);
    }
    for (const row of looseOf(packs, layers)) {
      if (open.has(row.pack)) continue;
      const index = await kept.openOrFetch(row);
      opened.push(index);
      open.set(row.pack, index);
    }
    return new IndexView(kept, packs, layers, open);
  } catch (error) {
    for (const { file } of opened) file.close();
    for (const layer of layers) if (!before.layers.includes(layer)) layer.close();
    throw error;
  }
}

/** The layers after packs of a kind that are in none, if they are many, were joined. In a folder that cannot be written to they stay as they are. */
async function joined(
  kept: KeptIndexes,
  packs: ReadonlyMap<string, RemotePack>,
  layers: readonly IndexLayer[],
  kind: PackKind,
  before: IndexView,
): Promise<IndexLayer[]> {
  const own = layers.filter((layer) => kindOf(packs, layer) === kind);
  const loose = looseOf(packs, layers).filter((row) => row.kind === kind);
  const { groups, merged } = planLayers(
    loose,
    own.map((layer) => ({ layer, packs: layer.packs.map((pack) => packs.get(pack)!) })),
  );
  const made: IndexLayer[] = [];
  try {
    for (const group of groups) {
      const path = await writeLayer(kept.folder, kept.rules, async () => {
        const sources = [];
        for (const row of group) sources.push({ name: row.pack, idx: await kept.readOrFetch(row) });
        return sources;
      });
      made.push(new IndexLayer(path));
    }
  } catch (error) {
    for (const layer of made) layer.close();
    if (!isImgstoreError(error, 'IO')) throw error;
    return [...layers];
  }
  await removeLayers(merged.filter((layer) => !made.some(({ path }) => path === layer.path)));
  for (const layer of merged) if (!before.layers.includes(layer)) layer.close();
  return [...layers.filter((layer) => !merged.includes(layer)), ...made];
}

/** Of which kind all packs of a layer are; undefined where they are not, or not all of these packs. */
function kindOf(packs: ReadonlyMap<string, RemotePack>, layer: IndexLayer): PackKind | undefined {
  const kind = packs.get(layer.packs[0] ?? '')?.kind;
  return layer.packs.every((pack) => packs.get(pack)?.kind === kind) ? kind : undefined;
}

/** Packs that are in no layer. */
function looseOf(packs: ReadonlyMap<string, RemotePack>, layers: readonly IndexLayer[]): RemotePack[] {
  const covered = new Set(layers.flatMap((layer) => layer.packs));
  return [...packs.values()].filter(({ pack }) => !covered.has(pack));
}
