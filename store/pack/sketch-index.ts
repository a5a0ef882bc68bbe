import { rm } from 'node:fs/promises';
import type { Level } from 'level';
import { type FileRules, shareFolder } from '../../files/index.ts';
import { REF_BYTES } from './object-table.ts';

/** Objects remembered under one feature, the latest last: the same content in more of them is no better as a base. */
const MOST_REFS = 4;

/** Features that are kept in memory until they are written together. */
const MOST_WAITING = 65_536;

/** Features that are kept when there is no database: some 200 MB. */
const MOST_IN_MEMORY = 1_000_000;

const CACHE_BYTES = 16 * 1024 * 1024;
/** Of a feature's key: a byte that says what it is, and the feature. */
const KEY_BYTES = 1 + 4;

/** How LevelDB says that a file may not be opened or made. */
const NOT_ALLOWED = /(Permission denied|Operation not permitted|Read-only file system)$/;

type Database = Level<Buffer, Buffer>;

/** Key prefixes: features of sketches; packs whose objects are all in here. */
const FEATURE = 0x66;
const PACK = 0x70;

/**
 * Which objects have a feature in their sketch, in LevelDB: some 200 bytes an object of 16 features; 360, and 6 GB for 1 TiB of clusters of 64 KiB, where all are unlike.
 *
 * It can be deleted at any time: packs that it does not know are gathered again, all but the largest, and their whole objects inflated. When another process holds it, or its
 * files are another user's, it lives in memory for the run, and so it does when it turns out to be damaged.
 */
export class SketchIndex {
  readonly #folder: string;
  /** Undefined when it cannot be used, or turned out to be damaged. */
  #database: Database | undefined;
  readonly #waiting = new Map<number, number[]>();
  readonly #packs = new Set<string>();

  readonly #rules: FileRules;
  /** False for one that is there and could not be opened: what it knows is not known. */
  readonly #isOpen: boolean;

  private constructor(
    folder: string,
    rules: FileRules,
    database: Database | undefined,
    packs: Iterable<string>,
  ) {
    this.#folder = folder;
    this.#rules = rules;
    this.#database = database;
    this.#isOpen = database !== undefined;
    for (const pack of packs) this.#packs.add(pack);
  }

  /**
   * @param folder of the LevelDB database; made when it is not there
   * @param rules how its files are made
   */
  static async open(folder: string, rules: FileRules = {}): Promise<SketchIndex> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const { Level } = await import('level');
      const database: Database = new Level<Buffer, Buffer>(folder, {
        keyEncoding: 'buffer',
        valueEncoding: 'buffer',
        cacheSize: CACHE_BYTES,
      });
      try {
        await database.open();
        // LevelDB makes its files as the umask says.
        shareFolder(folder, rules.sharing);
        const packs: string[] = [];
        for await (const key of database.keys({ gte: Buffer.of(PACK), lt: Buffer.of(PACK + 1) }))
          packs.push(key.toString('latin1', 1));
        return new SketchIndex(folder, rules, database, packs);
      } catch (error) {
        await database.close().catch(() => {});
        if (isOthers(error)) break;
        await rm(folder, { recursive: true, force: true }).catch(() => {});
      }
    }
    return new SketchIndex(folder, rules, undefined, []);
  }

  /**
   * Whether all objects of a pack are known, or the database of another process or user may know them: to gather them all anew would cost a run over the whole
   * store each time.
   * @param checksum the pack's, as in its name
   */
  knowsPack(checksum: string): boolean {
    return !this.#isOpen || this.#packs.has(checksum);
  }

  /** The objects under each feature, the latest last. @param features signed words */
  async find(features: readonly number[]): Promise<readonly (readonly number[])[]> {
    const unknown = features.filter((feature) => !this.#waiting.has(feature));
    const values = (await this.#attempt((database) => database.getMany(featureKeys(unknown)))) ?? [];
    const stored = new Map(unknown.map((feature, i) => [feature, parseRefs(values[i])]));
    return features.map((feature) => this.#waiting.get(feature) ?? stored.get(feature) ?? []);
  }

  /** Adds an object under its features. @param known what {@link SketchIndex.find} said of each, now or a moment ago */
  async add(ref: number, features: readonly number[], known: readonly (readonly number[])[]): Promise<void> {
    for (const [i, feature] of features.entries()) {
      const refs = (this.#waiting.get(feature) ?? known[i]!).filter((other) => other !== ref);
      this.#waiting.set(feature, [...refs, ref].slice(-MOST_REFS));
    }
    if (this.#database !== undefined && this.#waiting.size >= MOST_WAITING) await this.#flush();
    else if (this.#waiting.size >= MOST_IN_MEMORY) this.#waiting.clear();
  }

  /** Notes that all objects of a pack are known, and of others that they are gone. */
  async replacePacks(made: readonly string[], gone: readonly string[]): Promise<void> {
    await this.#flush();
    for (const pack of gone) this.#packs.delete(pack);
    for (const pack of made) this.#packs.add(pack);
    const put = made.map((pack) => ({ type: 'put' as const, key: packKey(pack), value: Buffer.alloc(0) }));
    const del = gone.map((pack) => ({ type: 'del' as const, key: packKey(pack) }));
    await this.#attempt((database) => database.batch([...del, ...put]));
  }

  async close(): Promise<void> {
    await this.#database?.close();
    shareFolder(this.#folder, this.#rules.sharing);
  }

  async #flush(): Promise<void> {
    if (this.#database === undefined) return;
    const keys = featureKeys([...this.#waiting.keys()]);
    const values = encodeRefs([...this.#waiting.values()]);
    const rows = keys.map((key, i) => ({ type: 'put' as const, key, value: values[i]! }));
    await this.#attempt((database) => database.batch(rows));
    // Without a database they are all that there is.
    if (this.#database !== undefined) this.#waiting.clear();
  }

  /** Does something with the database; what only shows to be damaged now is given up and removed, and the rest of the run goes on in memory. */
  async #attempt<T>(work: (database: Database) => Promise<T>): Promise<T | undefined> {
    const database = this.#database;
    if (database === undefined) return undefined;
    try {
      return await work(database);
    } catch {
      this.#database = undefined;
      await database.close().catch(() => {});
      await rm(this.#folder, { recursive: true, force: true }).catch(() => {});
      return undefined;
    }
  }
}

/** One buffer for all keys: a million small ones are most of what the garbage collector has to do here. */
function featureKeys(features: readonly number[]): Buffer[] {
  const slab = Buffer.alloc(features.length * KEY_BYTES);
  return features.map((feature, i) => {
    slab.writeUInt8(FEATURE, i * KEY_BYTES);
    slab.writeInt32BE(feature, i * KEY_BYTES + 1);
    return slab.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES);
  });
}

function packKey(checksum: string): Buffer {
  return Buffer.from(`${String.fromCharCode(PACK)}${checksum}`, 'latin1');
}

function encodeRefs(all: readonly (readonly number[])[]): Buffer[] {
  const slab = Buffer.alloc(all.reduce((sum, refs) => sum + refs.length, 0) * REF_BYTES);
  let at = 0;
  return all.map((refs) => {
    const from = at;
    for (const ref of refs) at = slab.writeUIntBE(ref, at, REF_BYTES);
    return slab.subarray(from, at);
  });
}

function parseRefs(value: Buffer | undefined): number[] {
  return Array.from({ length: Math.floor((value?.length ?? 0) / REF_BYTES) }, (_, i) =>
    value!.readUIntBE(i * REF_BYTES, REF_BYTES),
  );
}

/** Whether a database cannot be opened since another process has it, or another user, and not since it is damaged. */
function isOthers(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if (('code' in at && at.code === 'LEVEL_LOCKED') || NOT_ALLOWED.test(at.message)) return true;
  return false;
}
