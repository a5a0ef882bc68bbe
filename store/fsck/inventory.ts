import type { GitObject, LooseObjects, ObjectId, ObjectType } from '../../objects/index.ts';
import type { VerifiedObject } from '../workers/verify-jobs.ts';
import type { PackSource } from './pack-source.ts';

const TYPES: readonly ObjectType[] = ['commit', 'tree', 'blob', 'tag'];
const ZERO_FLAG = 0x80;

/** An object of the inventory. */
export interface InventoryEntry {
  /** That of the first copy. */
  readonly number: number;
  /** Undefined when no copy of it is whole. */
  readonly object: VerifiedObject | undefined;
}

/**
 * Every copy of every object that was in the store when the check began, by number, with what is known of it: 5 bytes a packed copy, and some 150 a loose
 * one. Packs stay open, so what another process moves meanwhile can still be read.
 *
 * Not by way of the store's own look-ups: these leave damaged packs out, and find one copy of each object.
 */
export class Inventory {
  readonly packs: readonly PackSource[];
  /** Copies, each counted. */
  readonly count: number;
  readonly #loose: LooseObjects;
  readonly #looseNumbers = new Map<ObjectId, number>();
  /** By pack: the number of its first copy. */
  readonly #first: readonly number[];
  /** Type, 1 to 4, with {@link ZERO_FLAG}; 0 for what is not whole, or not looked at yet. */
  readonly #types: Uint8Array;
  readonly #sizes: Uint32Array;

  constructor(packs: readonly PackSource[], loose: LooseObjects, looseIds: Iterable<ObjectId>) {
    this.packs = packs;
    this.#loose = loose;
    let next = 0;
    this.#first = packs.map(({ pack }) => {
      const first = next;
      next += pack.idx.count;
      return first;
    });
    for (const id of looseIds) this.#looseNumbers.set(id, next++);
    this.count = next;
    this.#types = new Uint8Array(next);
    this.#sizes = new Uint32Array(next);
  }

  get looseIds(): Iterable<ObjectId> {
    return this.#looseNumbers.keys();
  }

  get looseCount(): number {
    return this.#looseNumbers.size;
  }

  /** The number of a pack's copy. */
  packedNumber(pack: number, position: number): number {
    return this.#first[pack]! + position;
  }

  looseNumber(id: ObjectId): number {
    return this.#looseNumbers.get(id)!;
  }

  /** Notes what a whole copy is. */
  record(number: number, { type, size, isZero }: VerifiedObject): void {
    this.#types[number] = (TYPES.indexOf(type) + 1) | (isZero ? ZERO_FLAG : 0);
    this.#sizes[number] = size;
  }

  /** Undefined when there is no copy. */
  find(id: ObjectId): InventoryEntry | undefined {
    let number: number | undefined;
    for (const each of this.#numbers(id)) {
      number ??= each.number;
      const object = this.#object(each.number);
      if (object !== undefined) return { number, object };
    }
    return number === undefined ? undefined : { number, object: undefined };
  }

  /** Whether a copy with this number is not the first of its object. */
  isFurtherCopy(id: ObjectId, number: number): boolean {
    for (const first of this.#numbers(id)) return first.number !== number;
    return false;
  }

  /** An object by one of its whole copies, checked against its id; undefined when none can be read (any more). */
  read(id: ObjectId): GitObject | undefined {
    for (const { number, pack, position } of this.#numbers(id)) {
      if (this.#types[number] === 0) continue;
      const object = pack === undefined ? this.#loose.read(id) : this.packs[pack]!.pack.read(position);
      if (object !== undefined) return object;
    }
    return undefined;
  }

  /** Ids of the whole copies of one type; an object that is in several packs comes several times. */
  *idsOfType(type: ObjectType): Generator<ObjectId> {
    for (const [i, { pack }] of this.packs.entries())
      for (let position = 0; position < pack.idx.count; position++)
        if (this.#object(this.#first[i]! + position)?.type === type) yield pack.idx.id(position);
    for (const [id, number] of this.#looseNumbers) if (this.#object(number)?.type === type) yield id;
  }

  close(): void {
    for (const { pack } of this.packs) pack.close();
  }

  *#numbers(id: ObjectId): Generator<Copy> {
    for (let pack = 0; pack < this.packs.length; pack++) {
      const position = this.packs[pack]!.pack.idx.find(id);
      if (position !== undefined) yield { number: this.#first[pack]! + position, pack, position };
    }
    const number = this.#looseNumbers.get(id);
    if (number !== undefined) yield { number, pack: undefined, position: 0 };
  }

  #object(number: number): VerifiedObject | undefined {
    const type = this.#types[number]!;
    if (type === 0) return undefined;
    const isZero = (type & ZERO_FLAG) !== 0;
    return { type: TYPES[(type & ~ZERO_FLAG) - 1]!, size: this.#sizes[number]!, isZero };
  }
}

interface Copy {
  readonly number: number;
  /** Undefined for the loose one. */
  readonly pack: number | undefined;
  readonly position: number;
}
