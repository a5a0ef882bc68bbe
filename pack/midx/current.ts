import { statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fromSystem, ImgstoreError, isImgstoreError, shellWord, systemCode } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { FileBytes } from '../bytes.ts';
import { MIDX_FILE } from './layout.ts';
import { Midx, type MidxPlace } from './midx.ts';

/** A multi-pack-index with its file. */
interface OpenMidx {
  readonly midx: Midx;
  readonly file: FileBytes;
  /** Names of the indexes of its packs. */
  readonly packs: ReadonlySet<string>;
}

const NO_PACKS: ReadonlySet<string> = new Set();

/**
 * The multi-pack-index that a folder has now. One that names packs which are gone is not used, and nothing is said about that: it lasts for a moment
 * whenever another process packs, every object is still found by the packs' own indexes, and the next `imgstore pack` writes it anew.
 */
export class CurrentMidx {
  readonly #path: string;
  readonly #onNotice: (notice: string) => void;
  /** Which file was opened last, also when that failed; undefined when there is none. */
  #identity: string | undefined;
  #open: OpenMidx | undefined;
  /** Whether all its packs are there. */
  #complete = false;
  /** Those that were replaced: a reader may still be at one, as at packs that went. */
  readonly #retired: FileBytes[] = [];

  /** @param onNotice told once of each file that is damaged */
  constructor(folder: string, onNotice: (notice: string) => void) {
    this.#path = join(folder, MIDX_FILE);
    this.#onNotice = onNotice;
  }

  /** Looks at the file anew. @param present names of the indexes of packs that are there */
  refresh(present: ReadonlySet<string>): void {
    const identity = this.#identityNow();
    if (identity !== this.#identity) {
      this.#retire();
      this.#identity = identity;
      if (identity !== undefined) this.#openFile();
    }
    this.#complete = this.#open?.midx.packs.every((name) => present.has(name)) === true;
  }

  /** Names of the indexes that it stands for; none when it is not used. */
  get packs(): ReadonlySet<string> {
    return this.#used?.packs ?? NO_PACKS;
  }

  /** Where an object is. @throws ImgstoreError `DAMAGED`, `IO`: then {@link CurrentMidx.leaveOut} it. */
  find(id: ObjectId): MidxPlace | undefined {
    return this.#used?.midx.find(id);
  }

  /** The ids that begin with some hex digits. */
  idsWithPrefix(prefix: string): Iterable<ObjectId> {
    return this.#used?.midx.idsWithPrefix(prefix) ?? [];
  }

  /** Stops using the file, with a notice, as long as it is the same. @throws what is not the file's fault */
  leaveOut(error: unknown): void {
    if (!(error instanceof ImgstoreError) || isOutOfResources(error)) throw error;
    this.#retire();
    this.#onNotice(
      `the multi-pack-index is left out: ${error.message}: remove it, and make it anew by imgstore pack, or by ` +
        `git -C ${shellWord(dirname(dirname(this.#path)))} multi-pack-index write`,
    );
  }

  close(): void {
    this.#retire();
    this.#identity = undefined;
    for (const file of this.#retired.splice(0)) file.close();
  }

  get #used(): OpenMidx | undefined {
    return this.#complete ? this.#open : undefined;
  }

  #openFile(): void {
    let file: FileBytes | undefined;
    try {
      file = new FileBytes(this.#path);
      const midx = new Midx(file);
      this.#open = { midx, file, packs: new Set(midx.packs) };
    } catch (error) {
      file?.close();
      // Gone since it was looked at: another process has packed.
      if (!isImgstoreError(error, 'NOT_FOUND')) this.leaveOut(error);
    }
  }

  #retire(): void {
    if (this.#open !== undefined) this.#retired.push(this.#open.file);
    this.#open = undefined;
    this.#complete = false;
  }

  #identityNow(): string | undefined {
    try {
      const { dev, ino, size, mtimeNs } = statSync(this.#path, { bigint: true });
      return `${dev}:${ino}:${size}:${mtimeNs}`;
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return undefined;
      throw fromSystem(error, this.#path);
    }
  }
}

/** True for what would fail for every other file too, for want of descriptors or memory. */
export function isOutOfResources(error: ImgstoreError): boolean {
  return ['EMFILE', 'ENFILE', 'ENOMEM'].includes(String(error.data.system));
}
