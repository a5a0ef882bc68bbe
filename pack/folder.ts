import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fromSystem, ImgstoreError, shellWord, systemCode } from '../errors/index.ts';
import type { GitObject, ObjectHeader, ObjectId } from '../objects/index.ts';
import { Pack, type PackedStream } from './pack.ts';

const FILE_PATTERN = /^(pack-[0-9a-f]+)\.(idx|pack)$/;

/** What fails for want of descriptors or memory would fail for every other pack too. */
const NOT_THE_PACKS_FAULT = ['EMFILE', 'ENFILE', 'ENOMEM'];

/** An object's place: which pack, and where in its index. */
export interface PackedObject {
  readonly pack: Pack;
  readonly position: number;
}

/** The packs of a store: everything below `objects/pack`. */
export class PackFolder {
  /** The `objects/pack` folder. */
  readonly folder: string;
  /** Most recently useful first: neighbours in a map tend to be in one pack. */
  #packs: Pack[] | undefined;
  /** Packs that another process removed: a reader in another thread may still be at one, so they stay open. */
  readonly #retired: Pack[] = [];
  readonly #onNotice: (notice: string) => void;
  /** Why packs could not be opened, by stem. */
  readonly #leftOut = new Map<string, string>();

  /** @param onNotice told once of each pack that is damaged and left out, with what to do about it */
  constructor(folder: string, onNotice: (notice: string) => void = () => {}) {
    this.folder = folder;
    this.#onNotice = onNotice;
  }

  /** Looks at the folder anew; packs that are open stay so. Returns true when there are new ones. */
  refresh(): boolean {
    const known = new Map((this.#packs ?? []).map((pack) => [pack.stem, pack]));
    const stems = this.#stems('idx');
    const opened = stems.filter((stem) => !known.has(stem)).flatMap((stem) => this.#openIfWhole(stem));
    const gone = new Set(known.keys());
    for (const stem of stems) gone.delete(stem);
    for (const stem of gone) this.#retired.push(known.get(stem)!);
    this.#packs = [...opened, ...[...known.values()].filter((pack) => !gone.has(pack.stem))];
    return opened.length > 0;
  }

  /** All packs, in no order that means anything. */
  packs(): readonly Pack[] {
    if (this.#packs === undefined) this.refresh();
    return this.#packs!;
  }

  /** Where an object is, among the packs that are known. */
  find(id: ObjectId): PackedObject | undefined {
    const packs = this.packs() as Pack[];
    for (let i = 0; i < packs.length; i++) {
      const pack = packs[i]!;
      const position = pack.idx.find(id);
      if (position === undefined) continue;
      if (i > 0) packs.unshift(...packs.splice(i, 1));
      return { pack, position };
    }
    return undefined;
  }

  /** Every place of an object that is in several packs. */
  findAll(id: ObjectId): PackedObject[] {
    return this.packs().flatMap((pack) => {
      const position = pack.idx.find(id);
      return position === undefined ? [] : [{ pack, position }];
    });
  }

  /** Why the packs that are there and were not opened were not: one line each, with what to do. */
  leftOut(): string[] {
    const indexed = new Set(this.#stems('idx'));
    const unindexed = this.#stems('pack').filter((stem) => !indexed.has(stem));
    return [
      ...[...this.#leftOut].filter(([stem]) => indexed.has(stem)).map(([, reason]) => reason),
      ...unindexed.map((stem) => `${stem}.pack: has no index: ${indexAdvice(stem)}`),
    ];
  }

  has(id: ObjectId): boolean {
    return this.find(id) !== undefined;
  }

  /** The object, checked against its id, or undefined. @throws ImgstoreError `DAMAGED`. */
  read(id: ObjectId): GitObject | undefined {
    const place = this.find(id);
    return place?.pack.read(place.position);
  }

  header(id: ObjectId): ObjectHeader | undefined {
    const place = this.find(id);
    return place?.pack.header(place.position);
  }

  /** Where the object's bytes lie, for a reader in another thread; undefined when it is not here or is a delta. */
  wholeStream(id: ObjectId): PackedStream | undefined {
    const place = this.find(id);
    return place?.pack.wholeStream(place.position);
  }

  /** The ids that begin with some hex digits; one that is in two packs comes twice. */
  *idsWithPrefix(prefix: string): Generator<ObjectId> {
    // A copy: a look-up between two ids changes the order.
    for (const pack of [...this.packs()]) yield* pack.idx.idsWithPrefix(prefix);
  }

  close(): void {
    for (const pack of [...(this.#packs ?? []), ...this.#retired.splice(0)]) pack.close();
    this.#packs = undefined;
  }

  #stems(ending: 'idx' | 'pack'): string[] {
    try {
      return readdirSync(this.folder).flatMap((name) => {
        const match = FILE_PATTERN.exec(name);
        return match?.[2] === ending ? [join(this.folder, match[1]!)] : [];
      });
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      throw fromSystem(error, this.folder);
    }
  }

  /** One damaged pack must not keep the objects of all others from being read. */
  #openIfWhole(stem: string): Pack[] {
    try {
      const pack = new Pack(stem);
      this.#leftOut.delete(stem);
      return [pack];
    } catch (error) {
      const reason = reasonToLeaveOut(stem, error);
      if (reason !== undefined && !this.#leftOut.has(stem)) this.#onNotice(`a pack is left out: ${reason}`);
      if (reason !== undefined) this.#leftOut.set(stem, reason);
      return [];
    }
  }
}

/**
 * Why a pack that cannot be opened is left out. Undefined for one that went between the listing and the opening, when another
 * process has put its objects into a larger one: the index goes first then.
 */
function reasonToLeaveOut(stem: string, error: unknown): string | undefined {
  if (!(error instanceof ImgstoreError) || NOT_THE_PACKS_FAULT.includes(String(error.data.system)))
    throw error;
  if (error.code !== 'NOT_FOUND') return `${error.message}: ${indexAdvice(stem)}`;
  if (!existsSync(`${stem}.idx`)) return undefined;
  return `${stem}.idx: has no pack beside it: put ${basename(stem)}.pack back from a copy, or remove the index`;
}

function indexAdvice(stem: string): string {
  return `put both files back from a copy, or run git -C ${shellWord(dirname(stem))} index-pack ${basename(stem)}.pack`;
}
