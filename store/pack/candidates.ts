import type { ObjectId } from '../../objects/index.ts';
import type { Pack } from '../../pack/index.ts';
import { BATCH_BYTES } from './batches.ts';
import { type ObjectTable, REF_BYTES, TYPES } from './object-table.ts';
import type { SketchIndex } from './sketch-index.ts';

/** Bases that are tried for an object: a third brings 0.3%, a fourth nothing. */
const MOST_CANDIDATES = 2;

/**
 * Features that a base has in common with its object, of up to 16. One alone is mostly chance: asking for two takes a fifth off the time of packing nine Debian
 * disks, and makes the pack no longer.
 */
const LEAST_VOTES = 2;

/** A delta is hardly shorter than an object of fewer bytes. */
const LEAST_BYTES = 64;

/** An object whose place in the new pack comes before. */
export interface Candidate {
  readonly id: ObjectId;
  /** Row of the table; undefined for an object of the body. */
  readonly row: number | undefined;
  /** Position in the body's index; undefined for an object of the table. */
  readonly position: number | undefined;
  /** Deltas that lead to it, or, as long as that is not known, that may. */
  readonly depth: number;
}

/** Depth of a row that has no place in the new pack yet. */
const NO_PLACE = 255;

/** Finds bases for the objects of one new pack: those with the most features in common, and what lies at the same place in another version. */
export class Candidates {
  readonly #table: ObjectTable;
  readonly #body: Pack | undefined;
  readonly #index: SketchIndex;
  readonly #mostDepth: number;
  /** By row. */
  readonly #depth: Uint8Array;
  /** By row: how many kept deltas stand on it, one on the other. */
  readonly #height: Uint8Array;

  constructor(
    table: ObjectTable,
    body: Pack | undefined,
    index: SketchIndex,
    height: Uint8Array,
    mostDepth: number,
  ) {
    this.#table = table;
    this.#body = body;
    this.#index = index;
    this.#mostDepth = mostDepth;
    this.#height = height;
    this.#depth = new Uint8Array(table.count).fill(NO_PLACE);
  }

  /**
   * Candidates for some objects that come next in the pack, and notes them as candidates for what comes later.
   * @param sketches their features
   */
  async choose(
    rows: readonly number[],
    sketches: readonly (readonly number[])[],
    sibling: (row: number) => number | ObjectId | undefined,
  ): Promise<Candidate[][]> {
    const features = rows.map((row, i) =>
      sketches[i]!.map((feature) => salted(feature, this.#table.type[row]!)),
    );
    const all = [...new Set(features.flat())];
    const known = new Map<number, readonly number[]>();
    for (const [i, refs] of (await this.#index.find(all)).entries()) known.set(all[i]!, refs);
    const chosen: Candidate[][] = [];
    for (const [i, row] of rows.entries()) {
      const refs = features[i]!.map((feature) => known.get(feature)!);
      const candidates = this.#best(row, refs, sibling(row));
      chosen.push(candidates);
      this.setDepth(row, candidates.length === 0 ? 0 : 1 + Math.max(...candidates.map(({ depth }) => depth)));
      const ref = this.#table.ref(row);
      // Within the batch the later ones must see the earlier.
      for (const feature of features[i]!) known.set(feature, [...known.get(feature)!, ref]);
      await this.#index.add(ref, features[i]!, refs);
    }
    return chosen;
  }

  /** Says how many deltas lead to an object, as soon as it is known. */
  setDepth(row: number, depth: number): void {
    this.#depth[row] = Math.min(depth, NO_PLACE - 1);
  }

  depth(row: number): number {
    return this.#depth[row]!;
  }

  #best(
    row: number,
    refs: readonly (readonly number[])[],
    sibling: number | ObjectId | undefined,
  ): Candidate[] {
    if (this.#table.size[row]! < LEAST_BYTES) return [];
    const votes = new Map<number, number>();
    for (const each of refs) for (const ref of each) votes.set(ref, (votes.get(ref) ?? 0) + 1);
    // The later one of two with equal votes: Map keeps the order of insertion, and refs come with the latest last.
    const ranked = [...votes].reverse().sort(([, a], [, b]) => b - a);
    const candidates: Candidate[] = [];
    for (const [ref, count] of ranked) {
      if (candidates.length === MOST_CANDIDATES || count < Math.min(LEAST_VOTES, refs.length)) break;
      const candidate = this.#byRef(ref);
      if (candidate !== undefined && this.#fits(row, candidate)) candidates.push(candidate);
    }
    const place = this.#bySibling(sibling);
    if (place !== undefined && this.#fits(row, place) && !candidates.some(({ id }) => id === place.id))
      candidates.push(place);
    return candidates;
  }

  #fits(row: number, { row: other, position, depth }: Candidate): boolean {
    if (other === row || depth + 1 + this.#height[row]! > this.#mostDepth) return false;
    const type = this.#table.type[row]!;
    if (other !== undefined) return this.#table.type[other] === type;
    const base = this.#body!.header(position!);
    // What lies at the same place may be an attachment, whose index in memory would take as much again.
    return base.type === TYPES[type] && base.size <= BATCH_BYTES;
  }

  #byRef(ref: number): Candidate | undefined {
    const row = this.#table.findRef(ref);
    if (row !== undefined) return this.#fromTable(row);
    if (this.#body === undefined) return undefined;
    const prefix = ref.toString(16).padStart(2 * REF_BYTES, '0');
    const [id] = this.#body.idx.idsWithPrefix(prefix);
    return id === undefined ? undefined : this.#fromBody(id);
  }

  #bySibling(sibling: number | ObjectId | undefined): Candidate | undefined {
    if (sibling === undefined) return undefined;
    return typeof sibling === 'number' ? this.#fromTable(sibling) : this.#fromBody(sibling);
  }

  #fromTable(row: number): Candidate | undefined {
    const depth = this.#depth[row]!;
    if (depth === NO_PLACE) return undefined;
    return { id: this.#table.id(row), row, position: undefined, depth };
  }

  #fromBody(id: ObjectId): Candidate | undefined {
    const position = this.#body?.idx.find(id);
    if (position === undefined) return undefined;
    return { id, row: undefined, position, depth: this.#body!.depth(position) };
  }
}

/** Features of different types of object must not meet: a base is of its object's type. Signed, as V8 keeps such numbers without an object for each. */
function salted(feature: number, type: number): number {
  return feature ^ Math.imul(type, 0x9e3779b1);
}
