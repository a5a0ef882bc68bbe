import { ProtocolFault } from '../protocol/fault.ts';

/** A server sends a reply in order, mostly; one that scatters it into more separate pieces wants to cost us time. */
const MAX_PIECES = 4096;

/** Which bytes of a range have come: each must come once. */
export class Coverage {
  readonly #length: number;
  /** Ascending, separate; [start, end). */
  readonly #pieces: { start: number; end: number }[] = [];

  /** @param length of the range in bytes */
  constructor(length: number) {
    this.#length = length;
  }

  /** @throws ProtocolFault when [start, end) leaves the range or has come before in part */
  add(start: number, end: number): void {
    if (start < 0 || end > this.#length || start >= end)
      throw new ProtocolFault('a chunk of data lies outside of what was asked for');
    const at = this.#firstEndingBehind(start);
    const next = this.#pieces[at];
    if (next !== undefined && next.start < end) throw new ProtocolFault('it sends the same data twice');
    const before = this.#pieces[at - 1];
    const [joinsBefore, joinsNext] = [before?.end === start, next?.start === end];
    if (joinsBefore && joinsNext) {
      before!.end = next!.end;
      this.#pieces.splice(at, 1);
    } else if (joinsBefore) before!.end = end;
    else if (joinsNext) next!.start = start;
    else this.#pieces.splice(at, 0, { start, end });
    if (this.#pieces.length > MAX_PIECES) throw new ProtocolFault('it scatters a reply into too many pieces');
  }

  get isComplete(): boolean {
    const [first] = this.#pieces;
    return (
      this.#length === 0 || (this.#pieces.length === 1 && first!.start === 0 && first!.end === this.#length)
    );
  }

  /** Index of the first piece that ends behind `offset`. */
  #firstEndingBehind(offset: number): number {
    let [low, high] = [0, this.#pieces.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#pieces[middle]!.end > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
