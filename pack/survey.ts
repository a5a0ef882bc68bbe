import { ImgstoreError, isImgstoreError } from '../errors/index.ts';
import type { ObjectType } from '../objects/index.ts';
import { MOST_DEPTH } from './chain.ts';
import { PackOrder } from './order.ts';
import type { Pack } from './pack.ts';

const TYPES: readonly ObjectType[] = ['commit', 'tree', 'blob', 'tag'];
/** Not looked at yet; on the way that is being followed; of no type, as the way from it leads nowhere. */
const UNKNOWN = 0xff;
const ON_WAY = 0xfe;
const LOST = 0xfd;
const NO_BASE = -1;

/**
 * What each entry of a pack is and takes, from the heads alone: one read an entry, however long the chains are. Memory: 29 bytes an
 * entry. Places are positions in the pack's index.
 */
export class PackSurvey {
  /** Deltas that lead to the object. */
  readonly depth: Uint16Array;
  /** Bytes of the entry's stream inflated: the object's, or the delta's. */
  readonly inflated: Float64Array;
  /** Bytes of the entry. */
  readonly stored: Float64Array;
  /** What is wrong with entries that cannot be read, one error each: `DAMAGED`, naming pack and offset. */
  readonly faults: readonly ImgstoreError[];
  readonly #pack: Pack;
  readonly #type: Uint8Array;
  /** Position of the base; −1 for whole objects and for what cannot be read. */
  readonly #base: Int32Array;

  constructor(pack: Pack) {
    const { count } = pack.idx;
    this.#pack = pack;
    this.depth = new Uint16Array(count);
    this.inflated = new Float64Array(count);
    this.stored = new Float64Array(count);
    this.#type = new Uint8Array(count).fill(UNKNOWN);
    this.#base = new Int32Array(count).fill(NO_BASE);
    const order = new PackOrder(pack);
    const faults = new Map<number, ImgstoreError>();
    for (const [i, position] of order.positions.entries())
      collect(faults, position, () => this.#enter(order, i, position));
    for (let position = 0; position < count; position++)
      if (!faults.has(position)) collect(faults, position, () => this.#follow(position));
    this.faults = [...faults.values()];
  }

  /** Undefined for an entry that cannot be read. */
  type(position: number): ObjectType | undefined {
    return TYPES[this.#type[position]!];
  }

  /** Position of the base of a delta; undefined for a whole object. */
  base(position: number): number | undefined {
    const base = this.#base[position]!;
    return base === NO_BASE ? undefined : base;
  }

  #enter(order: PackOrder, i: number, position: number): void {
    const offset = order.offset(i);
    const head = this.#pack.head(offset);
    this.inflated[position] = head.size;
    this.stored[position] = order.end(i) - offset;
    if (head.kind !== 'ofs-delta' && head.kind !== 'ref-delta') {
      this.#type[position] = TYPES.indexOf(head.kind);
      return;
    }
    const entry = head.kind === 'ofs-delta' ? order.at(offset - head.distance!) : undefined;
    const base =
      head.kind === 'ref-delta'
        ? this.#pack.idx.find(head.base!)
        : entry === undefined
          ? undefined
          : order.positions[entry];
    if (base === undefined) throw this.#damaged(position, 'its base is not in the pack');
    this.#base[position] = base;
  }

  /** Finds type and depth of an entry and of all on the way to its whole object; none is walked twice. */
  #follow(position: number): void {
    const path: number[] = [];
    let at = position;
    for (; this.#type[at] === UNKNOWN && this.#base[at] !== NO_BASE; at = this.#base[at]!) {
      path.push(at);
      this.#type[at] = ON_WAY;
    }
    const isCircle = this.#type[at] === ON_WAY;
    if (isCircle || this.#type[at] === UNKNOWN) this.#type[at] = LOST;
    for (const step of path.reverse()) {
      const isLost = this.#type[at] === LOST || this.depth[at] === MOST_DEPTH;
      this.#type[step] = isLost ? LOST : this.#type[at]!;
      this.depth[step] = isLost ? 0 : this.depth[at]! + 1;
      at = step;
    }
    if (this.#type[position] === LOST)
      throw this.#damaged(position, isCircle ? 'its chain of deltas never ends' : 'its base cannot be read');
  }

  #damaged(position: number, reason: string): ImgstoreError {
    const { path, idx } = this.#pack;
    const offset = idx.offset(position);
    return new ImgstoreError('DAMAGED', `${path}: entry at ${offset}: ${reason}`, { path, offset });
  }
}

function collect(faults: Map<number, ImgstoreError>, position: number, look: () => void): void {
  try {
    look();
  } catch (error) {
    if (!isImgstoreError(error, 'DAMAGED')) throw error;
    faults.set(position, error);
  }
}
