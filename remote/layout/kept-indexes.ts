import { existsSync, rmSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { counted, fromSystem, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { type FileRules, passPoint, writeWholeFile } from '../../files/index.ts';
import { FileBytes, Idx, MemoryBytes } from '../../pack/index.ts';
import type { Bucket } from '../bucket/bucket.ts';
import { removeOldLayers } from './index-layers.ts';
import { indexName } from './names.ts';
import type { RemotePack } from './state.ts';

/** Name under which the index of a pack is kept. */
const KEPT_PATTERN = /^([0-9a-f]{64})\.idx$/;

/** So many files are looked for one by one; for more, the folder is listed. */
const FEW = 64;

/** An index of a pack, open. */
export interface OpenIndex {
  readonly idx: Idx;
  readonly file: FileBytes;
}

/** Indexes of a bucket's packs in a folder, each as it was fetched. */
export class KeptIndexes {
  readonly folder: string;
  readonly rules: FileRules;
  readonly #bucket: Bucket;

  constructor(bucket: Bucket, folder: string, rules: FileRules) {
    this.#bucket = bucket;
    this.folder = folder;
    this.rules = rules;
  }

  /** Path at which the index of a pack is, or is to be, kept. */
  path(pack: string): string {
    return join(this.folder, `${pack}.idx`);
  }

  /** Fetches those that are not there. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `REMOTE_…`, `IO` */
  async fetchMissing(rows: readonly RemotePack[]): Promise<void> {
    const isThere = rows.length > FEW ? await this.#listed() : (pack: string) => existsSync(this.path(pack));
    const missing = rows.filter(({ pack }) => !isThere(pack));
    if (missing.length > 0) await mkdir(this.folder, { recursive: true });
    // The bucket bounds how many requests run at once.
    const fetched = await Promise.allSettled(missing.map((row) => this.fetch(row)));
    for (const outcome of fetched) if (outcome.status === 'rejected') throw outcome.reason;
  }

  async #listed(): Promise<(pack: string) => boolean> {
    const names = new Set(await readdir(this.folder).catch(() => []));
    return (pack) => names.has(`${pack}.idx`);
  }

  /** Removes all but some, and layers of others. Who has one open reads on; what cannot be removed stays for the next time. @param packs their checksums */
  async keepOnly(packs: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.folder).catch(() => [])) {
      const [, pack] = KEPT_PATTERN.exec(name) ?? [];
      if (pack === undefined || packs.has(pack)) continue;
      passPoint('remote-index.remove', this.path(pack));
      await rm(this.path(pack), { force: true }).catch(() => {});
    }
    await removeOldLayers(this.folder, packs);
  }

  /** @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `REMOTE_…`, `IO` */
  async fetch(pack: RemotePack): Promise<void> {
    // One byte more shows that it is longer, without all of it being taken.
    const range = { offset: 0, length: pack.indexBytes + 1 };
    const bytes = Buffer.from(await this.#bucket.get(indexName(pack), range));
    const where = `${this.#bucket.where}: ${indexName(pack)}`;
    const idx = new Idx(new MemoryBytes(where, bytes));
    this.#requireOf(pack, idx, bytes.length);
    idx.verify();
    await this.keep(pack.pack, bytes);
  }

  /** @throws ImgstoreError `IO` */
  keep(pack: string, idx: Uint8Array): Promise<void> {
    return writeWholeFile('remote-index', this.path(pack), idx, this.rules.sharing);
  }

  /** What is damaged goes, so that it is fetched the next time. @throws ImgstoreError `DAMAGED`, `NOT_FOUND`, `IO` */
  open(row: RemotePack): OpenIndex {
    const file = new FileBytes(this.path(row.pack));
    try {
      const idx = new Idx(file);
      this.#requireOf(row, idx, file.size);
      return { idx, file };
    } catch (error) {
      file.close();
      if (isImgstoreError(error, 'DAMAGED')) rmSync(this.path(row.pack), { force: true });
      throw error;
    }
  }

  openOrFetch(row: RemotePack): Promise<OpenIndex> {
    return this.#orFetched(row, () => this.open(row));
  }

  /** In memory, checked: joining looks at 256 places of each, and 3000 took 24 s as files. */
  readOrFetch(row: RemotePack): Promise<Idx> {
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

  /** Reads what is kept; when that is not whole, fetches it and reads it once more. */
  async #orFetched<T>(row: RemotePack, read: () => T | Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (error) {
      // A failure of the power may have left a part of it, or somebody has just removed it who knows a newer list.
      if (!isImgstoreError(error, 'DAMAGED') && !isImgstoreError(error, 'NOT_FOUND')) throw error;
      await rm(this.path(row.pack), { force: true });
      await this.fetch(row);
      return read();
    }
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
    if (reason !== undefined) throw this.damaged(pack, reason);
  }

  /** An error of an index that is not what the list says. */
  damaged(pack: RemotePack, reason: string): ImgstoreError {
    const where = `${this.#bucket.where}: ${indexName(pack)}`;
    return new ImgstoreError('DAMAGED', `${where}: ${reason}`, { where, pack: pack.pack });
  }
}
