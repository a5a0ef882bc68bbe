import { mkdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fromSystem, systemCode } from '../../errors/index.ts';
import { type FileRules, namesIn, passPoint, randomOwnerSuffix, sharePath } from '../../files/index.ts';
import { LooseObjects, type ObjectId } from '../../objects/index.ts';

/** Folders among which ids spread evenly. */
const FOLDERS = 256;
/** Room of a group of folders, at least, where that makes fewer of them: some clusters of any size. */
const LEAST_GROUP_BYTES = 4 * 2 ** 20;
/** So far is a group emptied when it is too full, that not every cluster is a reason to look through it. */
const SHARE_LEFT = 0.9;
/** Of the room of a group: so much is written before others, who write there too, are counted again. */
const SHARE_UNSEEN = 0.02;
/** How exact it is known when a file was used last. */
const USE_TICK_MS = 60 * 60 * 1000;

const COPY_MODE = 0o444;

/**
 * Copies of objects that a bucket has, as loose objects in a folder of their own, of a bounded size: of what was used longest ago, as far as is known, some goes. Nothing is lost with it, so nothing is fsynced;
 * who reads a copy checks it against its id, and has it brought again when it is damaged or has gone.
 *
 * Its files are small, and what is done to them goes to the page cache: each call takes 5 to 40 µs, and by way of a thread of node's some 50 more.
 */
export class ClusterStore {
  readonly loose: LooseObjects;
  readonly #groupBytes: number;
  readonly #groupCount: number;
  readonly #rules: FileRules;
  /** Bytes that may still be written to a group of folders before it is looked through. */
  readonly #left = new Map<number, number>();

  /** @param mostBytes of all files together, by whatever process */
  constructor(folder: string, mostBytes: number, rules: FileRules = {}) {
    this.loose = new LooseObjects(folder);
    this.#rules = rules;
    this.#groupCount = Math.min(FOLDERS, Math.max(1, Math.floor(mostBytes / LEAST_GROUP_BYTES)));
    this.#groupBytes = mostBytes / this.#groupCount;
  }

  /** Whether there is a copy; it then counts as used. @throws ImgstoreError `IO`. */
  use(id: ObjectId): boolean {
    const path = this.loose.path(id);
    try {
      const stats = statSync(path, { throwIfNoEntry: false });
      if (stats === undefined || stats.size === 0) return false;
      const now = Date.now();
      if (now - stats.mtimeMs > USE_TICK_MS) touch(path, now);
      return true;
    } catch (error) {
      throw fromSystem(error, path);
    }
  }

  /** Keeps an object, unless it is larger than the room for it. Returns whether it did. @param file as a loose object @throws ImgstoreError `IO`. */
  put(id: ObjectId, file: Uint8Array): boolean {
    const path = this.loose.path(id);
    if (file.length > this.#groupBytes) return false;
    try {
      this.#makeRoom(id, file.length);
      this.#write(path, file);
      return true;
    } catch (error) {
      throw fromSystem(error, path);
    }
  }

  /** Takes a copy out, because it is damaged. */
  drop(id: ObjectId): void {
    rmSync(this.loose.path(id), { force: true });
  }

  #makeRoom(id: ObjectId, added: number): void {
    const number = Math.floor((Number.parseInt(id.slice(0, 2), 16) * this.#groupCount) / FOLDERS);
    let left = this.#left.get(number) ?? 0;
    if (left < added) left = this.#look(number, added);
    this.#left.set(number, left - added);
  }

  /** Counts a group's files, and takes some out when another one has no room. Returns the bytes that may be written before the next look. */
  #look(number: number, added: number): number {
    const files = this.#foldersOf(number).flatMap(filesIn);
    let bytes = files.reduce((sum, { size }) => sum + size, 0);
    if (bytes + added > this.#groupBytes)
      for (const { path, size } of files.sort((a, b) => a.mtimeMs - b.mtimeMs)) {
        if (bytes + added <= this.#groupBytes * SHARE_LEFT) break;
        rmSync(path, { force: true });
        bytes -= size;
      }
    // As long as there is much room, others need not be counted often.
    return Math.max((this.#groupBytes - bytes) / 4, this.#groupBytes * SHARE_UNSEEN, added);
  }

  #write(path: string, file: Uint8Array): void {
    const folder = dirname(path);
    const temporary = join(folder, `tmp_obj_${randomOwnerSuffix()}`);
    try {
      passPoint('remote-copy.write', path);
      try {
        writeFileSync(temporary, file, { mode: COPY_MODE, flag: 'wx' });
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error;
        mkdirSync(folder, { recursive: true });
        for (const made of [this.loose.folder, folder]) sharePath(made, this.#rules.sharing);
        writeFileSync(temporary, file, { mode: COPY_MODE, flag: 'wx' });
      }
      sharePath(temporary, this.#rules.sharing);
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
  }

  #foldersOf(group: number): string[] {
    const names = Array.from({ length: FOLDERS }, (_, i) => i).filter(
      (i) => Math.floor((i * this.#groupCount) / FOLDERS) === group,
    );
    return names.map((i) => join(this.loose.folder, i.toString(16).padStart(2, '0')));
  }
}

/** Another user's file stays as old as it is. */
function touch(path: string, now: number): void {
  try {
    utimesSync(path, now / 1000, now / 1000);
  } catch {}
}

function filesIn(folder: string) {
  const files: { readonly path: string; readonly size: number; readonly mtimeMs: number }[] = [];
  for (const name of namesIn(folder)) {
    const path = join(folder, name);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.isFile()) files.push({ path, size: stats.size, mtimeMs: stats.mtimeMs });
  }
  return files;
}
