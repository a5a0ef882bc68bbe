import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Level } from 'level';
import { type FileIdentity, sameIdentity } from '../block/index.ts';
import { type FileRules, shareFolder } from '../files/index.ts';
import { isId, type ObjectId } from '../objects/index.ts';

/** Files of an image, top first, and the format that the first is read in, with the disk of the store that stands in for a file that is gone: the same bytes are another disk in another format. */
export interface KnownFiles {
  readonly format: string;
  readonly identities: readonly FileIdentity[];
}

/** What a file held when it was last looked at: a disk of a version. */
export interface KnownFile {
  readonly commit: ObjectId;
  /** Name of the disk in that version. */
  readonly disk: string;
  /** Clusters that hold data. */
  readonly clusters: number;
}

/** Tells versions of which `gc` may have removed a part. */
export interface SweepWatch {
  /** Number of the last sweep. */
  stamp(): number;
  /** The id by which a version that was whole at a stamp goes now; undefined when it may not be whole any more. */
  current(commit: ObjectId, stamp: number): Promise<ObjectId | undefined>;
}

const NO_SWEEPS: SweepWatch = { stamp: () => 0, current: async (commit) => commit };

/** As stored: JSON below `file:<format>:<path>`. */
interface Entry extends KnownFile {
  /** {@link SweepWatch.stamp}, when the version was whole. */
  readonly stamp?: number;
  /** The image and every file below it, top first. */
  readonly files: readonly FileIdentity[];
}

/**
 * A file changed in the same tick of the clock as the look at it would keep its times: git calls that racily clean. Linux stamps files with
 * a clock of 4 to 10 ms.
 */
export const CLOCK_TICK_MS = 20;
const TICK_NS = BigInt(CLOCK_TICK_MS) * 1_000_000n;
/** What to wait after a write for a look at the file to count: a timer may go off a millisecond early, and the look is timed in whole ones. */
export const SETTLE_MS = CLOCK_TICK_MS + 2;
/** Some file systems keep whole or even seconds only. */
const COARSE_TICK_NS = 2_000_000_000n;

/** Another process has the database open for a moment only; after this we do without. */
const TRIES = 5;
const PAUSE_MS = 20;

/**
 * Remembers which version a file holds, so that a file that has not changed since need not be read. Kept in LevelDB; it can be deleted at any time, and another process that
 * holds it makes every look-up a miss.
 */
export class StatCache {
  readonly #folder: string;
  readonly #sweeps: SweepWatch;

  readonly #rules: FileRules;
  /** What was last found for a key. */
  readonly #found = new Map<string, string>();

  /**
   * @param folder of the LevelDB database; made on first use
   * @param rules how its files are made
   */
  constructor(folder: string, rules: FileRules, sweeps: SweepWatch = NO_SWEEPS) {
    this.#folder = folder;
    this.#rules = rules;
    this.#sweeps = sweeps;
  }

  /** Loads LevelDB while there is something to wait for. */
  async load(): Promise<void> {
    await import('level');
  }

  /** What the image with these files holds, if none of them has changed since it was {@link StatCache.put}. */
  async get(files: KnownFiles): Promise<KnownFile | undefined> {
    return (await this.getAll([files]))[0];
  }

  /** As {@link StatCache.get} for each, with the database opened once. */
  async getAll(all: readonly KnownFiles[]): Promise<(KnownFile | undefined)[]> {
    // A new store has nothing to look up, and loading LevelDB takes 34 ms.
    if (all.length === 0 || !existsSync(join(this.#folder, 'CURRENT'))) return all.map(() => undefined);
    const names = all.map(key);
    const texts = (await this.#use((database) => database.getMany(names))) ?? [];
    return Promise.all(all.map((files, i) => this.#entryOf(files, names[i]!, texts[i])));
  }

  /** What a file held when it was last noted, as far as it was asked for, whatever has become of the file since. */
  lastNoted(files: KnownFiles): KnownFile | undefined {
    const text = this.#found.get(key(files));
    return text === undefined ? undefined : parseEntry(text);
  }

  async #entryOf(
    { identities }: KnownFiles,
    name: string,
    text: string | undefined,
  ): Promise<KnownFile | undefined> {
    if (text !== undefined) this.#found.set(name, text);
    const entry = text === undefined ? undefined : parseEntry(text);
    if (entry === undefined || entry.files.length !== identities.length) return undefined;
    if (!entry.files.every((file, i) => sameIdentity(file, identities[i]!))) return undefined;
    const commit = await this.#sweeps.current(entry.commit, entry.stamp ?? 0);
    return commit === undefined ? undefined : { ...entry, commit };
  }

  /**
   * Remembers what an image holds.
   * @param lookedNs when its files were looked at, before the first byte was read: nanoseconds since 1970
   */
  async put(files: KnownFiles, lookedNs: bigint, known: KnownFile): Promise<void> {
    await this.putAll(lookedNs, [{ files, known }]);
  }

  /** As {@link StatCache.put} for each, with the database opened once. */
  async putAll(
    lookedNs: bigint,
    all: readonly { readonly files: KnownFiles; readonly known: KnownFile }[],
  ): Promise<void> {
    const stamp = this.#sweeps.stamp();
    const changed = all.flatMap(({ files, known }) => {
      if (!files.identities.every((file) => isSettled(file, lookedNs))) return [];
      const entry: Entry = { ...known, files: files.identities, stamp };
      const name = key(files);
      const text = JSON.stringify(entry);
      return this.#found.get(name) === text ? [] : [{ type: 'put' as const, key: name, value: text }];
    });
    // Most often nothing has changed; opening the database again would take longer than all else.
    if (changed.length === 0) return;
    for (const { key: name } of changed) this.#found.delete(name);
    await this.#use((database) => database.batch(changed));
  }

  async #use<T>(work: (database: Level<string, string>) => Promise<T>): Promise<T | undefined> {
    const { Level } = await import('level');
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const database = new Level<string, string>(this.#folder);
      try {
        await database.open();
        return await work(database);
      } catch (error) {
        // A cache is never worth a failure: without it, or with an empty one, all goes on, only slower.
        if (!causedBy(error, 'LEVEL_LOCKED')) return this.#giveUp(error);
        await sleep(PAUSE_MS);
      } finally {
        await database.close().catch(() => {});
        // LevelDB makes its files as the umask says.
        shareFolder(this.#folder, this.#rules.sharing);
      }
    }
    return undefined;
  }

  /** Removes a database that is damaged, so that the next one to come makes a new one. */
  async #giveUp(error: unknown): Promise<undefined> {
    if (causedBy(error, 'LEVEL_CORRUPTION'))
      await rm(this.#folder, { recursive: true, force: true }).catch(() => {});
    return undefined;
  }
}

function causedBy(error: unknown, code: string): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if ('code' in at && at.code === code) return true;
  return false;
}

function key({ format, identities }: KnownFiles): string {
  return `file:${format}:${identities[0]!.path}`;
}

/** Whether a later write is sure to show in the file's times. */
function isSettled({ mtimeNs }: FileIdentity, lookedNs: bigint): boolean {
  const time = BigInt(mtimeNs);
  const tick = time % 1_000_000_000n === 0n ? COARSE_TICK_NS : TICK_NS;
  return time + tick <= lookedNs;
}

function parseEntry(text: string): Entry | undefined {
  try {
    const entry = JSON.parse(text) as Entry;
    return isId(entry.commit) && Array.isArray(entry.files) ? entry : undefined;
  } catch {
    return undefined;
  }
}
