import { existsSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { ImgstoreError, shellWord } from '../errors/index.ts';
import { isOutOfResources } from './midx/current.ts';
import { Pack } from './pack.ts';

/** Packs of a folder, opened when they are asked for and once; each by its stem. One damaged pack must not keep the objects of all others from being read: it is left out. */
export class OpenPacks {
  readonly #isCovered: (stem: string) => boolean;
  readonly #onNotice: (notice: string) => void;
  readonly #open = new Map<string, Pack>();
  /** Packs that another process removed: a reader in another thread may still be at one, so they stay open. */
  readonly #retired: Pack[] = [];
  readonly #leftOut = new Map<string, string>();
  /** Those that could not be opened since the last look at the folder. */
  readonly #failed = new Set<string>();

  /**
   * @param isCovered whether a multi-pack-index says where a pack's objects are, so that its own index need not be open
   * @param onNotice told once of each pack that is left out, with what to do about it
   */
  constructor(isCovered: (stem: string) => boolean, onNotice: (notice: string) => void) {
    this.#isCovered = isCovered;
    this.#onNotice = onNotice;
  }

  /** Why packs could not be opened, by stem. */
  get leftOut(): ReadonlyMap<string, string> {
    return this.#leftOut;
  }

  /** A pack for reading by offset; undefined for one that is left out. */
  whole(stem: string): Pack | undefined {
    return this.#open.get(stem) ?? this.#openIfWhole(stem, () => {});
  }

  /** A pack whose index is open, too; undefined for one that is left out. */
  withIndex(stem: string): Pack | undefined {
    return this.#openIfWhole(stem, (pack) => pack.openIndex());
  }

  /** Tries packs again that could not be opened, and gives out none that are not there any more. @param stems those that are there now */
  lookAnew(stems: ReadonlySet<string>): void {
    for (const [stem, pack] of this.#open) {
      if (stems.has(stem)) continue;
      this.#retired.push(pack);
      this.#open.delete(stem);
    }
    this.#failed.clear();
  }

  close(): void {
    for (const pack of [...this.#open.values(), ...this.#retired.splice(0)]) pack.close();
    this.#open.clear();
  }

  #openIfWhole(stem: string, complete: (pack: Pack) => void): Pack | undefined {
    if (this.#failed.has(stem)) return undefined;
    try {
      const pack = this.#open.get(stem) ?? new Pack(stem, this.#isCovered(stem) ? 'on demand' : 'at once');
      // Before its index is opened: without one that is whole it can still be read by the multi-pack-index.
      this.#open.set(stem, pack);
      complete(pack);
      this.#leftOut.delete(stem);
      return pack;
    } catch (error) {
      const reason = reasonToLeaveOut(stem, error);
      this.#failed.add(stem);
      if (reason !== undefined && !this.#leftOut.has(stem)) this.#onNotice(`a pack is left out: ${reason}`);
      if (reason !== undefined) this.#leftOut.set(stem, reason);
      return undefined;
    }
  }
}

/**
 * Why a pack that cannot be opened is left out. Undefined for one that went between the listing and the opening, when another
 * process has put its objects into a larger one: the index goes first then.
 */
function reasonToLeaveOut(stem: string, error: unknown): string | undefined {
  if (!(error instanceof ImgstoreError) || isOutOfResources(error)) throw error;
  if (error.code !== 'NOT_FOUND') return `${error.message}: ${indexAdvice(stem)}`;
  if (!existsSync(`${stem}.idx`)) return undefined;
  return `${stem}.idx: has no pack beside it: put ${basename(stem)}.pack back from a copy, or remove the index`;
}

/** How a pack whose files do not fit each other becomes whole again. */
export function indexAdvice(stem: string): string {
  const store = dirname(dirname(dirname(stem)));
  return `put both files back from a copy, or run imgstore --store ${shellWord(store)} fsck --repair`;
}
