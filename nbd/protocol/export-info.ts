import { lengthAndString, readOffset } from './bytes.ts';
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

function requireLength(data: Buffer, length: number, type: number): void {
  if (data.length !== length)
    throw new ProtocolFault(`information ${type} has ${data.length} bytes, not ${length}`);
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
