import { existsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { counted, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { type FileRules, passPoint, writeWholeFile } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { EntryEnds, FileBytes, Idx, MemoryBytes, PACK_TRAILER_BYTES } from '../../pack/index.ts';
import type { Bucket } from '../bucket/bucket.ts';
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
 * The indexes of a bucket's packs, each fetched once and kept in a folder, as they never change: so what the bucket has is known here, and where in which pack.
 */
export class RemoteIndexes {
  readonly #bucket: Bucket;
  readonly #folder: string;
  readonly #rules: FileRules;
  /**
   * Those of maps first, as what leads to clusters is meant to be read from there wherever else it is; then the most recently added, as what is looked for together was mostly pushed
   * together.
   */
  #open: OpenRemoteIndex[] = [];
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
    const wanted = new Map([...packs].map((pack) => [pack.pack, pack]));
    for (const { pack, file } of this.#open) if (!wanted.has(pack.pack)) file.close();
    this.#open = this.#open.filter(({ pack }) => wanted.has(pack.pack));
    // It may lie under a new name since.
    this.#open = this.#open.map((each) => ({ ...each, pack: wanted.get(each.pack.pack)! }));
    for (const { pack } of this.#open) wanted.delete(pack.pack);
    const missing = [...wanted.values()].filter(({ pack }) => !existsSync(this.path(pack)));
    if (missing.length > 0) await mkdir(this.#folder, { recursive: true });
    // The bucket bounds how many requests run at once.
    const fetched = await Promise.allSettled(missing.map((pack) => this.#fetch(pack)));
    for (const outcome of fetched) if (outcome.status === 'rejected') throw outcome.reason;
    for (const pack of wanted.values()) this.#open.unshift(await this.#openOrFetch(pack));
    const isData = ({ pack }: OpenRemoteIndex) => Number(pack.kind === 'data');
    this.#open.sort((a, b) => isData(a) - isData(b));
  }

  /** Removes the kept indexes of all packs but some. Who has one open reads on; what cannot be removed stays for the next time. @param packs their checksums */
  async keepOnly(packs: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.#folder).catch(() => [])) {
      const [, pack] = KEPT_PATTERN.exec(name) ?? [];
      if (pack === undefined || packs.has(pack)) continue;
      passPoint('remote-index.remove', this.path(pack));
      await rm(this.path(pack), { force: true }).catch(() => {});
    }
  }

  /** Fetches an index that is here already, to see whether the bucket's is whole. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `REMOTE_…` */
  async check(pack: RemotePack): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    await this.#fetch(pack);
  }

  /** The packs that are looked into. */
  all(): readonly OpenRemoteIndex[] {
    return this.#open;
  }

  find(id: ObjectId): RemotePlace | undefined {
    for (const { pack, idx } of this.#open) {
      const position = idx.find(id);
      if (position !== undefined) return { pack, position, offset: idx.offset(position) };
    }
    return undefined;
  }

  /** @param kind of the packs that are looked into; any when not given */
  has(id: ObjectId, kind?: PackKind): boolean {
    return this.#open.some(
      ({ pack, idx }) => (kind === undefined || pack.kind === kind) && idx.find(id) !== undefined,
    );
  }

  /** The index of one of the packs that are looked into. */
  of({ pack }: RemotePack): OpenRemoteIndex {
    const found = this.#open.find((each) => each.pack.pack === pack);
    if (found === undefined) throw new RangeError(`pack ${pack} is not in use`);
    return found;
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
    for (const { file } of this.#open) file.close();
    this.#open = [];
  }

  async #openOrFetch(pack: RemotePack): Promise<OpenRemoteIndex> {
    try {
      return this.#openKept(pack);
    } catch (error) {
      // A failure of the power may have left a part of it, or somebody has just removed it who knows a newer list.
      if (!isImgstoreError(error, 'DAMAGED') && !isImgstoreError(error, 'NOT_FOUND')) throw error;
      await rm(this.path(pack.pack), { force: true });
      await this.#fetch(pack);
      return this.#openKept(pack);
    }
  }

  #openKept(pack: RemotePack): OpenRemoteIndex {
    const file = new FileBytes(this.path(pack.pack));
    try {
      const idx = new Idx(file);
      this.#requireOf(pack, idx, file.size);
      return { pack, idx, file };
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
    if (reason === undefined) return;
    const where = `${this.#bucket.where}: ${indexName(pack)}`;
    throw new ImgstoreError('DAMAGED', `${where}: ${reason}`, { where, pack: pack.pack });
  }
}
