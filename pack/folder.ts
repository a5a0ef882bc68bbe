import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../errors/index.ts';
import type { GitObject, ObjectHeader, ObjectId } from '../objects/index.ts';
import { CurrentMidx } from './midx/current.ts';
import { MIDX_FILE } from './midx/layout.ts';
import type { MidxPlace } from './midx/midx.ts';
import { indexAdvice, OpenPacks } from './open-packs.ts';
import type { Pack } from './pack.ts';

const IDX_ENDING = '.idx';
const FILE_PATTERN = /^(pack-[0-9a-f]+)\.(idx|pack|mtimes)$/;

/** An object's place: which pack, and where in it. */
export interface PackedObject {
  readonly pack: Pack;
  /** Byte of the pack at which the entry begins. */
  readonly offset: number;
}

/**
 * The packs of a store: everything below `objects/pack`. Look-ups go to the multi-pack-index first, and then to the indexes of the packs
 * that it does not cover; a pack that it covers is opened when an object is found in it.
 */
export class PackFolder {
  /** The `objects/pack` folder. */
  readonly folder: string;
  readonly #midx: CurrentMidx;
  /** Packs that can be looked into, by stem; undefined before the first look at the folder. */
  #known: ReadonlySet<string> | undefined;
  readonly #open: OpenPacks;
  /** Those that the multi-pack-index does not cover. Most recently useful first: neighbours in a map tend to be in one pack. */
  #uncovered: Pack[] = [];
  /** Stems of packs of unreachable objects. */
  #cruft: ReadonlySet<string> = new Set();

  /** @param onNotice told once of each pack or multi-pack-index that is damaged and left out, with what to do about it */
  constructor(folder: string, onNotice: (notice: string) => void = () => {}) {
    this.folder = folder;
    this.#midx = new CurrentMidx(folder, onNotice);
    this.#open = new OpenPacks((stem) => this.#covers(stem), onNotice);
  }

  /** Looks at the folder anew; packs that are open stay so. Returns true when there are new ones. */
  refresh(): boolean {
    const before = this.#known;
    const stems = this.#stems('idx');
    this.#cruft = new Set(this.#stems('mtimes'));
    this.#midx.refresh(new Set(stems.map(idxName)));
    this.#open.lookAnew(new Set(stems));
    const covered = stems.filter((stem) => this.#covers(stem));
    this.#lookInto(stems.filter((stem) => !this.#covers(stem)));
    this.#known = new Set([...covered, ...this.#uncovered.map(({ stem }) => stem)]);
    return [...this.#known].some((stem) => before?.has(stem) !== true);
  }

  /** All packs that are whole, open with their indexes, in no order that means anything. */
  packs(): readonly Pack[] {
    this.#lookOnce();
    const covered = [...this.#known!].filter((stem) => this.#covers(stem));
    return [...this.#uncovered, ...covered.flatMap((stem) => this.#open.withIndex(stem) ?? [])];
  }

  /** Stems of the packs that the multi-pack-index covers; none when there is none that can be used. */
  covered(): readonly string[] {
    this.#lookOnce();
    return [...this.#midx.packs].map((name) => this.#stemOf(name));
  }

  /** Where an object is, among the packs that are known. */
  find(id: ObjectId): PackedObject | undefined {
    this.#lookOnce();
    const place = this.#findCovered(id);
    if (place === undefined) return this.#findUncovered(id);
    const pack = this.#open.whole(this.#stemOf(place.pack));
    // The multi-pack-index names one copy of each object; another may be in a pack that is whole.
    return pack === undefined ? this.findAll(id)[0] : { pack, offset: place.offset };
  }

  /**
   * The stem of a pack that has an object for good: packs of unreachable objects (git: cruft packs, which have a `.mtimes` file) do not count, as theirs are
   * on their way out.
   */
  holder(id: ObjectId): string | undefined {
    const found = this.find(id)?.pack;
    if (found === undefined || !this.isCruft(found)) return found?.stem;
    return this.findAll(id).find(({ pack }) => !this.isCruft(pack))?.pack.stem;
  }

  /** Whether a pack is one of unreachable objects. */
  isCruft({ stem }: Pack): boolean {
    return this.#cruft.has(stem);
  }

  /** Every place of an object that is in several packs, as the packs' own indexes have it. */
  findAll(id: ObjectId): PackedObject[] {
    return this.packs().flatMap((pack) => {
      const position = pack.idx.find(id);
      return position === undefined ? [] : [{ pack, offset: pack.idx.offset(position) }];
    });
  }

  /** Why packs that have an index were not opened: one line each, with what to do. */
  damaged(): string[] {
    const indexed = new Set(this.#stems('idx'));
    return [...this.#open.leftOut].filter(([stem]) => indexed.has(stem)).map(([, reason]) => reason);
  }

  /** Why the packs that are there and were not opened were not: one line each, with what to do. */
  leftOut(): string[] {
    const indexed = new Set(this.#stems('idx'));
    const unindexed = this.#stems('pack').filter((stem) => !indexed.has(stem));
    return [
      ...this.damaged(),
      ...unindexed.map((stem) => `${stem}.pack: has no index: ${indexAdvice(stem)}`),
    ];
  }

  has(id: ObjectId): boolean {
    return this.find(id) !== undefined;
  }

  /** The object, checked against its id, or undefined. @throws ImgstoreError `DAMAGED`. */
  read(id: ObjectId): GitObject | undefined {
    const place = this.find(id);
    return place?.pack.readAt(place.offset, id);
  }

  header(id: ObjectId): ObjectHeader | undefined {
    const place = this.find(id);
    return place?.pack.headerAt(place.offset);
  }

  /** The ids that begin with some hex digits; one that is in two packs may come twice. */
  *idsWithPrefix(prefix: string): Generator<ObjectId> {
    this.#lookOnce();
    // A copy: a look-up between two ids changes the order.
    const uncovered = [...this.#uncovered];
    // What is in a pack that is left out is not here.
    for (const id of this.#midx.idsWithPrefix(prefix)) if (this.has(id)) yield id;
    for (const pack of uncovered) yield* pack.idx.idsWithPrefix(prefix);
  }

  /**
   * Leaves the multi-pack-index out, with a notice, when it says something else than the packs' own indexes of the objects whose ids begin with some hex
   * digits: that they are elsewhere, or that there are none. Returns true then: another look finds what the packs have. It opens indexes, so
   * it is for what seems to be missing or damaged.
   */
  distrustMidx(prefix: string): boolean {
    this.#lookOnce();
    const reason = this.#contradiction(prefix);
    if (reason === undefined) return false;
    const path = join(this.folder, MIDX_FILE);
    this.#midx.leaveOut(
      new ImgstoreError('DAMAGED', `${path}: multi-pack-index is damaged: ${reason}`, { path, reason }),
    );
    this.refresh();
    return true;
  }

  /** Whether an object's own pack has it at a place; true when the pack's index cannot say. */
  agrees(id: ObjectId, { pack, offset }: PackedObject): boolean {
    const idx = this.#open.withIndex(pack.stem)?.idx;
    const position = idx?.find(id);
    return idx === undefined || (position !== undefined && idx.offset(position) === offset);
  }

  close(): void {
    this.#open.close();
    this.#midx.close();
    this.#uncovered = [];
    this.#known = undefined;
  }

  #lookOnce(): void {
    if (this.#known === undefined) this.refresh();
  }

  #covers(stem: string): boolean {
    return this.#midx.packs.has(idxName(stem));
  }

  /** How the multi-pack-index differs from the indexes of its packs. */
  #contradiction(prefix: string): string | undefined {
    const listed = [...this.#midx.idsWithPrefix(prefix)];
    for (const id of listed) {
      const place = this.#findCovered(id);
      const pack = place === undefined ? undefined : this.#open.whole(this.#stemOf(place.pack));
      if (pack !== undefined && !this.agrees(id, { pack, offset: place!.offset }))
        return `object ${id} is not where it says in ${place!.pack}`;
    }
    if (listed.length > 0) return undefined;
    for (const stem of this.covered()) {
      const [id] = this.#open.withIndex(stem)?.idx.idsWithPrefix(prefix) ?? [];
      if (id !== undefined) return `object ${id} of ${idxName(stem)} is not in it`;
    }
    return undefined;
  }

  #stemOf(name: string): string {
    return join(this.folder, name.slice(0, -IDX_ENDING.length));
  }

  #findCovered(id: ObjectId): MidxPlace | undefined {
    try {
      return this.#midx.find(id);
    } catch (error) {
      this.#midx.leaveOut(error);
      this.refresh();
      return undefined;
    }
  }

  #findUncovered(id: ObjectId): PackedObject | undefined {
    const packs = this.#uncovered;
    for (let i = 0; i < packs.length; i++) {
      const pack = packs[i]!;
      const position = pack.idx.find(id);
      if (position === undefined) continue;
      if (i > 0) packs.unshift(...packs.splice(i, 1));
      return { pack, offset: pack.idx.offset(position) };
    }
    return undefined;
  }

  /** Opens the packs that the multi-pack-index does not cover; those that come new are looked into first. */
  #lookInto(stems: readonly string[]): void {
    const packs = new Set(stems.flatMap((stem) => this.#open.withIndex(stem) ?? []));
    const known = this.#uncovered.filter((pack) => packs.delete(pack));
    this.#uncovered = [...packs, ...known];
  }

  #stems(ending: 'idx' | 'pack' | 'mtimes'): string[] {
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
}

function idxName(stem: string): string {
  return `${basename(stem)}${IDX_ENDING}`;
}
