import {
  COPY,
  COPY_OFFSET_BIT,
  COPY_OFFSET_BYTES,
  COPY_SIZE_BIT,
  COPY_SIZE_BYTES,
  COPY_SIZE_OF_ZERO,
  MOST_INSERT,
} from './layout.ts';

/** Bytes of a size: 7 bits each, and objects are below 2^53. */
const MOST_SIZE_BYTES = 8;

/** One room for all deltas, one at a time: each leaves as a copy, mostly a short one. */
let scratch = Buffer.alloc(0);

/** A delta as it is written: sizes, then instructions. Only one is written at a time. */
export class DeltaOutput {
  readonly #target: Buffer;
  readonly #bytes: Buffer;
  #end = 0;

  constructor(baseSize: number, target: Uint8Array) {
    this.#target = Buffer.from(target.buffer, target.byteOffset, target.length);
    // Any delta fits: inserts cost one byte in 127, and a copy is shorter than what it copies.
    const most = 2 * MOST_SIZE_BYTES + target.length + 2 * Math.ceil(target.length / MOST_INSERT);
    if (scratch.length < most) scratch = Buffer.allocUnsafeSlow(most);
    this.#bytes = scratch;
    this.#size(baseSize);
    this.#size(target.length);
  }

  /** Takes over [from, to) of the target as it is. */
  insert(from: number, to: number): void {
    for (let at = from; at < to; ) {
      const length = Math.min(MOST_INSERT, to - at);
      this.#bytes[this.#end++] = length;
      this.#target.copy(this.#bytes, this.#end, at, at + length);
      this.#end += length;
      at += length;
    }
  }

  /** Copies `length` bytes at `offset` of the base. */
  copy(offset: number, length: number): void {
    for (let done = 0; done < length; done += COPY_SIZE_OF_ZERO)
      this.#copyOne(offset + done, Math.min(COPY_SIZE_OF_ZERO, length - done));
  }

  /** Bytes so far. */
  get length(): number {
    return this.#end;
  }

  bytes(): Uint8Array {
    return Buffer.from(this.#bytes.subarray(0, this.#end));
  }

  #copyOne(offset: number, length: number): void {
    const at = this.#end++;
    let instruction = COPY;
    for (let byte = 0; byte < COPY_OFFSET_BYTES; byte++) {
      const value = (offset >>> (8 * byte)) & 0xff;
      if (value === 0) continue;
      instruction |= COPY_OFFSET_BIT << byte;
      this.#bytes[this.#end++] = value;
    }
    for (let byte = 0; byte < COPY_SIZE_BYTES && length !== COPY_SIZE_OF_ZERO; byte++) {
      const value = (length >>> (8 * byte)) & 0xff;
      if (value === 0) continue;
      instruction |= COPY_SIZE_BIT << byte;
      this.#bytes[this.#end++] = value;
    }
    this.#bytes[at] = instruction;
  }

  #size(size: number): void {
    let rest = size;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#end++] = (rest % 0x80) | 0x80;
    this.#bytes[this.#end++] = rest;
  }
}
