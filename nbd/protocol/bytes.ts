import { MAX_STRING_BYTES } from './constants.ts';
import { ProtocolFault } from './fault.ts';

/** A big-endian number of 64 bits that is a size or an offset. @throws ProtocolFault beyond 2^53 − 1 */
export function readOffset(bytes: Buffer, at: number, what: string): number {
  const value = bytes.readBigUInt64BE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolFault(`${what} ${value} is too large`);
  return Number(value);
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

/** A string with its length in 32 bits before it. */
export function lengthAndString(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
