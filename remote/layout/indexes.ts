import { rmSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { counted, fromSystem, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { type FileRules, passPoint, writeWholeFile } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { EntryEnds, FileBytes, Idx, MemoryBytes, PACK_TRAILER_BYTES } from '../../pack/index.ts';
import type { Bucket } from '../bucket/bucket.ts';
import { type IndexLayer, openLayers, planLayers, removeOldLayers, writeLayer } from './index-layers.ts';
import { inLayer, inPack, type LookUp } from './look-up.ts';
import { indexName } from './names.ts';
import type { PackKind, RemotePack } from './state.ts';

/** Name under which the index of a pack is kept. */
const KEPT_PATTERN = /^([0-9a-f]{64})\.idx$/;

/** Where an object lies in a bucket. */
export interface RemotePlace {
  readonly pack: RemotePack;
  /** In the pack's index. */
  readonly position: number;
  /** Byte of the pack at which the entry begins. */
  readonly offset: number;
}

/** The index of a pack of a bucket, open. */
export interface OpenRemoteIndex {
  readonly pack: RemotePack;
  readonly idx: Idx;
  readonly file: FileBytes;
}

/**
 * The indexes of a bucket's packs, each fetched once and kept in a folder, as they never change: so what the bucket has is known here, and where in which pack. Those of many packs are joined into layers, so that neither
 * opening nor looking up takes a step for each pack.
 */
export class RemoteIndexes {
  readonly #bucket: Bucket;
  readonly #folder: string;
  readonly #rules: FileRules;
  /** By checksum. */
  #packs: ReadonlyMap<string, RemotePack> = new Map();
  readonly #open = new Map<string, OpenRemoteIndex>();
  /** Where objects are looked for: of maps first, as what leads to clusters is meant to be read from there wherever else it is; then the most recently added, as what is looked for together was mostly pushed together. */
  #places: readonly LookUp[] = [];
  #layers: readonly IndexLayer[] = [];
  readonly #ends = new Map<string, EntryEnds>();

  /** @param folder where indexes are kept; it is made when needed */
  constructor(bucket: Bucket, folder: string, rules: FileRules = {}) {
    this.#bucket = bucket;
    this.#folder = folder;
    this.#rules = rules;
  }

  /** Path at which the index of a pack is, or is to be, kept. */
  path(pack: string): string {
    return join(this.#folder, `${pack}.idx`);
  }

  /**
   * Makes these the packs that are looked into; fetches the indexes that are not at hand.
   * @throws ImgstoreError `DAMAGED` for an index that is not of its pack, `NOT_FOUND`, `REMOTE_…`, `IO`
   */
  async use(packs: Iterable<RemotePack>): Promise<void> {
    // One that was open may lie under a new name since.
    const wanted = new Map([...packs].map((pack) => [pack.pack, pack]));
    for (const [pack, { file }] of this.#open) {
      if (wanted.has(pack)) continue;
      file.close();
      this.#open.delete(pack);
    }
    const kept = await this.#keptNames();
    const missing = [...wanted.values()].filter(({ pack }) => !kept.has(pack) && !this.#open.has(pack));
    if (missing.length > 0) await mkdir(this.#folder, { recursive: true });
    // The bucket bounds how many requests run at once.
    const fetched = await Promise.allSettled(missing.map((pack) => this.#fetch(pack)));
    for (const outcome of fetched) if (outcome.status === 'rejected') throw outcome.reason;
    this.#packs = wanted;
    await this.#lookInto();
  }

  /** Removes the kept indexes of all packs but some. Who has one open reads on; what cannot be removed stays for the next time. @param packs their checksums */
  async keepOnly(packs: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const [, pack] = KEPT_PATTERN.exec(name) ?? [];
      if (pack === undefined || packs.has(pack)) continue;
      passPoint('remote-index.remove', this.path(pack));
      await rm(this.path(pack), { force: true }).catch(() => {});
    }
    await removeOldLayers(this.#folder, packs);
  }

  /** Fetches an index that is here already, to see whether the bucket's is whole. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `REMOTE_…` */
  async check(pack: RemotePack): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await this.#fetch(pack);
  }

  find(id: ObjectId): RemotePlace | undefined {
    for (const { find } of this.#places) {
      const found = find(id);
      if (found === undefined) continue;
      const pack = this.#packs.get(found.pack)!;
      const position = this.of(pack).idx.find(id);
      if (position === undefined) throw this.#damaged(pack, 'has not what the layer over it has');
      return { pack, position, offset: found.offset };
    }
    return undefined;
  }

  /** @param kind of the packs that are looked into; any when not given */
  has(id: ObjectId, kind?: PackKind): boolean {
    return this.#places.some((place) => (kind === undefined || place.kind === kind) && place.has(id));
  }

  /** The index of one of the packs that are looked into. @throws ImgstoreError `DAMAGED` where what is kept is; the next time it is fetched. */
  of({ pack }: RemotePack): OpenRemoteIndex {
    const row = this.#packs.get(pack);
    if (row === undefined) throw new RangeError(`pack ${pack} is not in use`);
    const open = this.#open.get(pack);
    if (open !== undefined) return { ...open, pack: row };
    try {
      return this.#openKept(row);
    } catch (error) {
      if (isImgstoreError(error, 'DAMAGED')) rmSync(this.path(pack), { force: true });
      throw error;
    }
  }

  /** Byte behind the entry that begins at an offset of a pack. */
  entryEnd(pack: RemotePack, offset: number): number {
    let ends = this.#ends.get(pack.pack);
    if (ends === undefined) {
      ends = new EntryEnds(this.of(pack).idx, pack.bytes - PACK_TRAILER_BYTES);
      this.#ends.set(pack.pack, ends);
    }
    return ends.of(offset);
  }

  close(): void {
    for (const { file } of this.#open.values()) file.close();
    this.#open.clear();
    for (const layer of this.#layers) layer.close();
    this.#layers = [];
    this.#places = [];
    this.#packs = new Map();
  }

  /** Checksums of the packs whose indexes are kept. */
  async #keptNames(): Promise<Set<string>> {
    const names = await readdir(this.#folder).catch(() => []);
    return new Set(names.flatMap((name) => KEPT_PATTERN.exec(name)?.[1] ?? []));
  }

  /** Opens the layers and the packs that are in none; when those are many, joins them first. */
  async #lookInto(): Promise<void> {
    this.#openLayers();
    if (await this.#joinLoose()) this.#openLayers();
    const layers = this.#layers.map((layer) => inLayer(layer, this.#packs.get(layer.packs[0]!)!.kind));
    const loose: LookUp[] = [];
    for (const row of this.#loose()) loose.unshift(inPack(row, (await this.#openOrFetch(row)).idx));
    const isData = ({ kind }: LookUp) => Number(kind === 'data');
    this.#places = [...loose, ...layers].sort((a, b) => isData(a) - isData(b));
  }

  #openLayers(): void {
    for (const layer of this.#layers) layer.close();
    const all = openLayers(this.#folder, new Set(this.#packs.keys()));
    const isOfOneKind = ({ packs }: IndexLayer) =>
      new Set(packs.map((pack) => this.#packs.get(pack)!.kind)).size === 1;
    this.#layers = all.filter(isOfOneKind);
    for (const layer of all) if (!this.#layers.includes(layer)) layer.close();
  }

  #loose(): RemotePack[] {
    const covered = new Set(this.#layers.flatMap(({ packs }) => packs));
    return [...this.#packs.values()].filter(({ pack }) => !covered.has(pack));
  }

  /** @returns whether there are new layers. In a folder that cannot be written to there are none. */
  async #joinLoose(): Promise<boolean> {
    let isAny = false;
    for (const kind of ['data', 'maps'] as const) {
      const rows = (packs: readonly string[]) => packs.map((pack) => this.#packs.get(pack)!);
      const layers = this.#layers
        .map((layer) => ({ layer, packs: rows(layer.packs) }))
        .filter(({ packs }) => packs[0]!.kind === kind);
      const loose = this.#loose().filter((row) => row.kind === kind);
      for (const group of planLayers(loose, layers)) {
        if (!(await this.#join(group))) return isAny;
        isAny = true;
      }
    }
    return isAny;
  }

  async #join(rows: readonly RemotePack[]): Promise<boolean> {
    const sources = [];
    for (const row of rows) sources.push({ name: row.pack, idx: await this.#readOrFetch(row) });
    try {
      await writeLayer(this.#folder, sources, this.#rules);
      return true;
    } catch (error) {
      if (isImgstoreError(error, 'IO')) return false;
      throw error;
    }
  }

  /** In memory: joining looks at 256 places of each, and 3000 took 24 s as files. */
  #readOrFetch(row: RemotePack): Promise<Idx> {
    return this.#orFetched(row, async () => {
      const path = this.path(row.pack);
      const bytes = await readFile(path).catch((error: unknown) => {
        throw fromSystem(error, path);
      });
      const idx = new Idx(new MemoryBytes(path, bytes));
      this.#requireOf(row, idx, bytes.length);
      idx.verify();
      return idx;
    });
  }

  async #openOrFetch(row: RemotePack): Promise<OpenRemoteIndex> {
    const open = this.#open.get(row.pack);
    return open === undefined ? this.#orFetched(row, () => this.#openKept(row)) : { ...open, pack: row };
  }

  /** Reads what is kept; when that is not whole, fetches it and reads it once more. */
  async #orFetched<T>(row: RemotePack, read: () => T | Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      // A failure of the power may have left a part of it, or somebody has just removed it who knows a newer list.
      if (!isImgstoreError(error, 'DAMAGED') && !isImgstoreError(error, 'NOT_FOUND')) throw error;
      await rm(this.path(row.pack), { force: true });
      await this.#fetch(row);
      return read();
    }
  }

  #openKept(pack: RemotePack): OpenRemoteIndex {
    const file = new FileBytes(this.path(pack.pack));
    try {
      const idx = new Idx(file);
      this.#requireOf(pack, idx, file.size);
      const open = { pack, idx, file };
      this.#open.set(pack.pack, open);
      return open;
    } catch (error) {
      file.close();
      throw error;
    }
  }

  async #fetch(pack: RemotePack): Promise<void> {
    // One byte more shows that it is longer, without all of it being taken.
    const range = { offset: 0, length: pack.indexBytes + 1 };
    const bytes = Buffer.from(await this.#bucket.get(indexName(pack), range));
    const where = `${this.#bucket.where}: ${indexName(pack)}`;
    const idx = new Idx(new MemoryBytes(where, bytes));
    this.#requireOf(pack, idx, bytes.length);
    idx.verify();
    await writeWholeFile('remote-index', this.path(pack.pack), bytes, this.#rules.sharing);
  }

  #requireOf(pack: RemotePack, idx: Idx, size: number): void {
    const reason =
      size !== pack.indexBytes
        ? `has ${size} bytes where the remote's list has ${pack.indexBytes}`
        : idx.count !== pack.objects
          ? `is of ${counted(idx.count, 'object')} where the remote's list has ${pack.objects}`
          : idx.packChecksum().toString('hex') !== pack.pack
            ? 'is of another pack'
            : undefined;
    if (reason !== undefined) throw this.#damaged(pack, reason);
  }

  #damaged(pack: RemotePack, reason: string): ImgstoreError {
    const where = `${this.#bucket.where}: ${indexName(pack)}`;
    return new ImgstoreError('DAMAGED', `${where}: ${reason}`, { where, pack: pack.pack });
  }
}
