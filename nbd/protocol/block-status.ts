import { counted } from '../../errors/index.ts';
import { readLooseOffset, writeOffset } from './bytes.ts';
import { ProtocolFault } from './fault.ts';

const DESCRIPTOR_BYTES = 8;

/** "Structured reply types": no server should send more in one chunk. */
const MAX_DESCRIPTORS = 2 ** 20;
export const MAX_STATUS_BYTES = 4 + DESCRIPTOR_BYTES * MAX_DESCRIPTORS;

/** One stretch of an export, in the order of the export. */
export interface StatusExtent {
  /** Bytes, never 0. */
  readonly length: number;
  /** What they mean is up to the metadata context. */
  readonly flags: number;
}

/** Payload of `NBD_REPLY_TYPE_BLOCK_STATUS`; its extents are made as they are asked for, since there may be a million. */
export interface StatusChunk {
  readonly contextId: number;
  extents(): Iterable<StatusExtent>;
}

/** Payload of `NBD_REPLY_TYPE_BLOCK_STATUS`. */
export function encodeStatus(contextId: number, extents: readonly StatusExtent[]): Buffer {
  const payload = Buffer.allocUnsafe(4 + DESCRIPTOR_BYTES * extents.length);
  payload.writeUInt32BE(contextId, 0);
  for (const [i, { length, flags }] of extents.entries()) {
    payload.writeUInt32BE(length, 4 + DESCRIPTOR_BYTES * i);
    payload.writeUInt32BE(flags, 8 + DESCRIPTOR_BYTES * i);
  }
  return payload;
}

/** True when a chunk of block status may have a payload of this many bytes. */
export function isStatusLength(length: number): boolean {
  return length > 4 && length <= MAX_STATUS_BYTES && (length - 4) % DESCRIPTOR_BYTES === 0;
}

/**
 * @param payload of a length that {@link isStatusLength} allows
 * @throws ProtocolFault for an extent of no length
 */
export function parseStatus(payload: Buffer): StatusChunk {
  for (let at = 4; at < payload.length; at += DESCRIPTOR_BYTES) {
    if (payload.readUInt32BE(at) === 0) throw new ProtocolFault('a block status has the length 0');
  }
  return {
    contextId: payload.readUInt32BE(0),
    *extents() {
      for (let at = 4; at < payload.length; at += DESCRIPTOR_BYTES) {
        yield { length: payload.readUInt32BE(at), flags: payload.readUInt32BE(at + 4) };
      }
    },
  };
}

const EXTENDED_HEAD_BYTES = 8;
const EXTENDED_DESCRIPTOR_BYTES = 16;

/** Payload of `NBD_REPLY_TYPE_BLOCK_STATUS_EXT`. */
export function encodeExtendedStatus(contextId: number, extents: readonly StatusExtent[]): Buffer {
  const payload = Buffer.allocUnsafe(EXTENDED_HEAD_BYTES + EXTENDED_DESCRIPTOR_BYTES * extents.length);
  payload.writeUInt32BE(contextId, 0);
  payload.writeUInt32BE(extents.length, 4);
  for (const [i, { length, flags }] of extents.entries()) {
    const at = EXTENDED_HEAD_BYTES + EXTENDED_DESCRIPTOR_BYTES * i;
    writeOffset(payload, at, length);
    writeOffset(payload, at + 8, flags);
  }
  return payload;
}

/** True when a chunk of extended block status may have a payload of this many bytes. */
export function isExtendedStatusLength(length: number): boolean {
  const count = (length - EXTENDED_HEAD_BYTES) / EXTENDED_DESCRIPTOR_BYTES;
  return Number.isInteger(count) && count > 0 && count <= MAX_DESCRIPTORS;
}

/**
 * @param payload of a length that {@link isExtendedStatusLength} allows
 * @throws ProtocolFault for an extent of no length, for flags of more than 32 bits, which no metadata context here has, and for another number of extents than it says
 */
export function parseExtendedStatus(payload: Buffer): StatusChunk {
  const count = (payload.length - EXTENDED_HEAD_BYTES) / EXTENDED_DESCRIPTOR_BYTES;
  if (payload.readUInt32BE(4) !== count)
    throw new ProtocolFault(
      `a block status of ${counted(count, 'extent')} says that it has ${payload.readUInt32BE(4)}`,
    );
  const place = (i: number) => EXTENDED_HEAD_BYTES + EXTENDED_DESCRIPTOR_BYTES * i;
  for (let i = 0; i < count; i++) {
    if (readLooseOffset(payload, place(i)) === 0) throw new ProtocolFault('a block status has the length 0');
    if (payload.readUInt32BE(place(i) + 8) !== 0)
      throw new ProtocolFault('a block status has flags of more than 32 bits');
  }
  return {
    contextId: payload.readUInt32BE(0),
    *extents() {
      for (let i = 0; i < count; i++)
        yield { length: readLooseOffset(payload, place(i)), flags: payload.readUInt32BE(place(i) + 12) };
    },
  };
}
