import { MAX_STRING_BYTES } from './constants.ts';
import { ProtocolFault } from './fault.ts';

/** A big-endian number of 64 bits that is a size or an offset. @throws ProtocolFault beyond 2^53 − 1 */
export function readOffset(bytes: Buffer, at: number, what: string): number {
  const value = bytes.readBigUInt64BE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolFault(`${what} ${value} is too large`);
  return Number(value);
}

const HIGH = 2 ** 32;

/** Writes a size or an offset, at most 2^53 − 1, as 64 bits. Two halves: a BigInt for each would be garbage for each reply. */
export function writeOffset(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32BE(Math.floor(value / HIGH), at);
  bytes.writeUInt32BE(value % HIGH, at + 4);
}

/** Reads 64 bits; what is larger than 2^53 comes out larger than 2^53, though not exact: for a number that is compared with a size next. */
export function readLooseOffset(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * HIGH + bytes.readUInt32BE(at + 4);
}

/** A string as the section "Conventions" has it. @throws ProtocolFault when it is too long or not UTF-8 */
export function readString(bytes: Uint8Array, what: string): string {
  if (bytes.length > MAX_STRING_BYTES)
    throw new ProtocolFault(`${what} is ${bytes.length} bytes long: ${MAX_STRING_BYTES} are allowed`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new ProtocolFault(`${what} is not UTF-8`);
  }
}

/** What a server says to people, made safe to print: one line without control characters. */
export function readMessage(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, MAX_STRING_BYTES)).toString('utf8');
  return text.replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ').trim();
}

/** A text for people in as many bytes of UTF-8 as a string may have; what is too much is cut off between characters. */
export function encodeMessage(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  let end = Math.min(bytes.length, MAX_STRING_BYTES);
  // 10xxxxxx goes on with the character before it.
  if (end < bytes.length) while ((bytes[end]! & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}

/** Takes the fields of an option's data one after the other. */
export class FieldReader {
  readonly #bytes: Buffer;
  readonly #what: string;
  #at = 0;

  /** @param what names the data in faults */
  constructor(bytes: Buffer, what: string) {
    this.#bytes = bytes;
    this.#what = what;
  }

  /** @throws ProtocolFault when the data end before */
  uint16(): number {
    return this.#take(2).readUInt16BE(0);
  }

  /** @throws ProtocolFault when the data end before */
  uint32(): number {
    return this.#take(4).readUInt32BE(0);
  }

  /** A string with its length in 32 bits before it. @throws ProtocolFault */
  string(what: string): string {
    return readString(this.#take(this.uint32()), what);
  }

  /** @throws ProtocolFault unless all was taken */
  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left > 0) throw new ProtocolFault(`${this.#what} has ${left} bytes behind its end`);
  }

  #take(length: number): Buffer {
    const from = this.#at;
    if (length > this.#bytes.length - from)
      throw new ProtocolFault(`${this.#what} is cut short: ${this.#bytes.length} bytes`);
    this.#at = from + length;
    return this.#bytes.subarray(from, from + length);
  }
}

/** A string with its length in 32 bits before it. */
export function lengthAndString(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
