import { encodeMessage, FieldReader, lengthAndString, readOffset, writeOffset } from './bytes.ts';
import { Info, TransmissionFlag } from './constants.ts';
import { ProtocolFault } from './fault.ts';

/** What `NBD_INFO_EXPORT` says. */
export interface ExportInfo {
  /** Bytes. */
  readonly size: number;
  readonly readOnly: boolean;
}

/** What `NBD_INFO_BLOCK_SIZE` says ("Size constraints"), in bytes. */
export interface BlockSizes {
  /** Offsets and lengths are multiples of it: a power of two up to 65536. */
  readonly minimum: number;
  readonly preferred: number;
  /** The longest payload of one request; 0xffffffff for no limit. */
  readonly maximum: number;
}

/** "Size constraints": what holds when a server says nothing. It then serves any offset, but a multiple of 512 is sure to work. */
export const DEFAULT_BLOCK_SIZES: BlockSizes = { minimum: 1, preferred: 4096, maximum: 32 * 1024 * 1024 };

const MAX_MINIMUM = 65536;
const LEAST_PREFERRED = 512;

/** Data of `NBD_OPT_GO`: the export's name and which information is wanted. */
export function encodeGo(name: string, wanted: readonly number[]): Buffer {
  const tail = Buffer.alloc(2 + 2 * wanted.length);
  tail.writeUInt16BE(wanted.length, 0);
  for (const [i, type] of wanted.entries()) tail.writeUInt16BE(type, 2 + 2 * i);
  return Buffer.concat([lengthAndString(name), tail]);
}

/** What `NBD_OPT_GO` and `NBD_OPT_INFO` ask for. */
export interface GoRequest {
  readonly name: string;
  /** Of `Info`, and what a server does not know. */
  readonly wanted: readonly number[];
}

/** @throws ProtocolFault when lengths and the data do not agree, or the name is no string */
export function parseGo(data: Buffer): GoRequest {
  const fields = new FieldReader(data, 'the choice of an export');
  const name = fields.string('the name of an export');
  const wanted = Array.from({ length: fields.uint16() }, () => fields.uint16());
  fields.end();
  return { name, wanted };
}

/** The type that the data of `NBD_REP_INFO` begins with. @throws ProtocolFault */
export function infoType(data: Buffer): number {
  if (data.length < 2) throw new ProtocolFault(`information about the export has ${data.length} bytes`);
  return data.readUInt16BE(0);
}

/** Parses the data of `NBD_REP_INFO` of type `Info.export`. @throws ProtocolFault */
export function parseExportInfo(data: Buffer): ExportInfo {
  requireLength(data, 12, Info.export);
  const size = readOffset(data, 2, 'the size of the export');
  return { size, readOnly: (data.readUInt16BE(10) & TransmissionFlag.readOnly) !== 0 };
}

/** Data of `NBD_REP_INFO` of type `Info.export`. @param flags of `TransmissionFlag` */
export function encodeExportInfo(size: number, flags: number): Buffer {
  return Buffer.concat([infoHead(Info.export), encodeSizeAndFlags(size, flags)]);
}

/** Size in bytes and flags of an export, as they also answer `NBD_OPT_EXPORT_NAME`. */
export function encodeSizeAndFlags(size: number, flags: number): Buffer {
  const bytes = Buffer.alloc(10);
  writeOffset(bytes, 0, size);
  bytes.writeUInt16BE(flags, 8);
  return bytes;
}

/** Data of `NBD_REP_INFO` of type `Info.name` or `Info.description`. */
export function encodeTextInfo(type: number, text: string): Buffer {
  return Buffer.concat([infoHead(type), encodeMessage(text)]);
}

/** Data of `NBD_REP_INFO` of type `Info.blockSize`. */
export function encodeBlockSizes({ minimum, preferred, maximum }: BlockSizes): Buffer {
  const sizes = Buffer.alloc(12);
  sizes.writeUInt32BE(minimum, 0);
  sizes.writeUInt32BE(preferred, 4);
  sizes.writeUInt32BE(maximum, 8);
  return Buffer.concat([infoHead(Info.blockSize), sizes]);
}

/** Parses the data of `NBD_REP_INFO` of type `Info.blockSize`. @throws ProtocolFault when sizes break the rules */
export function parseBlockSizes(data: Buffer): BlockSizes {
  requireLength(data, 14, Info.blockSize);
  const [minimum, preferred, maximum] = [data.readUInt32BE(2), data.readUInt32BE(6), data.readUInt32BE(10)];
  if (!isPowerOfTwo(minimum) || minimum > MAX_MINIMUM)
    throw new ProtocolFault(`its minimum block size is ${minimum}`);
  if (!isPowerOfTwo(preferred) || preferred < Math.max(minimum, LEAST_PREFERRED))
    throw new ProtocolFault(`its preferred block size is ${preferred}`);
  if (maximum < preferred) throw new ProtocolFault(`its maximum payload is ${maximum}`);
  return { minimum, preferred, maximum };
}

function infoHead(type: number): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(type);
  return head;
}

function requireLength(data: Buffer, length: number, type: number): void {
  if (data.length !== length)
    throw new ProtocolFault(`information ${type} has ${data.length} bytes, not ${length}`);
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
