import { TransmissionFlag } from '../protocol/constants.ts';
import type { BlockSizes } from '../protocol/export-info.ts';
import type { NbdExport } from './export.ts';

/** No payload is longer, whatever an export could do: what "Size constraints" says that every server should take. */
export const MAX_PAYLOAD_BYTES = 32 * 1024 * 1024;

/** What a client and the server agreed on. */
export interface Terms {
  readonly export: NbdExport;
  /** Of `TransmissionFlag`, as they were told to the client. */
  readonly flags: number;
  readonly blockSizes: BlockSizes;
  /** Whether replies are structured. */
  readonly structured: boolean;
  /** Whether requests and replies have extended headers; replies are structured then. */
  readonly extended: boolean;
  /** Whether `base:allocation` was selected for this export. */
  readonly allocation: boolean;
}

/** What clients are told that an export can do. @param structured whether structured replies were agreed on before */
export function transmissionFlags(disk: NbdExport, structured: boolean): number {
  const { hasFlags, readOnly, sendFlush, sendFua, sendTrim, sendWriteZeroes, sendFastZero } =
    TransmissionFlag;
  let flags: number = hasFlags;
  if (structured) flags |= TransmissionFlag.sendDf;
  if (disk.multiConnection) flags |= TransmissionFlag.canMultiConn;
  if (disk.cache !== undefined) flags |= TransmissionFlag.sendCache;
  if (!canBeChanged(disk)) return flags | readOnly;
  if (disk.flush !== undefined) flags |= sendFlush | sendFua;
  if (disk.trim !== undefined) flags |= sendTrim;
  if (disk.zero !== undefined) flags |= sendWriteZeroes | sendFastZero;
  return flags;
}

/** The block sizes that hold: the export's, with the server's own limit. */
export function blockSizesOf({ blockSize }: NbdExport): BlockSizes {
  return { ...blockSize, maximum: Math.min(blockSize.maximum, MAX_PAYLOAD_BYTES) };
}

function canBeChanged(disk: NbdExport): boolean {
  return !disk.readOnly && disk.write !== undefined;
}
