import type { Extent } from '../../block/index.ts';
import type { BlockSizes } from '../protocol/export-info.ts';

/** How {@link NbdExport.zero} may go about it. */
export interface ZeroOptions {
  /** The range may become a hole. */
  readonly mayPunch: boolean;
  /** Throw {@link NotFast}, changing nothing, rather than take as long as writing the zeros would. */
  readonly fast: boolean;
}

/**
 * A disk as one connection has it. The server has checked every range: it lies within the disk and begins and ends at multiples of the minimum block size. Calls
 * overlap in time; what fails with an ImgstoreError is told to the client.
 *
 * A disk that can be changed has `write` and `flush`, and what else of the optional calls it can do; clients are told which there are.
 */
export interface NbdExport {
  /** As {@link NbdExports.list} has it, whatever name it was asked for by. */
  readonly name: string;
  /** One line for people. */
  readonly description?: string;
  /** Bytes. */
  readonly size: number;
  /** Whether changes are refused. */
  readonly readOnly: boolean;
  /**
   * In bytes, powers of two: the smallest piece that can be accessed (1 to 65536), what is best accessed at once (at least 512), and the longest read or write (the server has a
   * limit of its own, 32 MiB).
   */
  readonly blockSize: BlockSizes;
  /** Whether what was written by one connection shows on all of them, and is safe, after a flush of any (`NBD_FLAG_CAN_MULTI_CONN`). */
  readonly multiConnection: boolean;
  /** Fills all of `into`, which holds whatever was read before. */
  read(offset: number, into: Uint8Array): Promise<void>;
  /**
   * As `BlockSource.extents`: data, zeros and holes, in order, without gap, at multiples of the minimum block size. It is not always asked until its end.
   */
  extents(offset: number, length: number): AsyncIterable<Extent>;
  /**
   * Whether a range, which may be looked at before a read, is known to read as zeros. A disk that can tell at once spares its server looking for zeros in what was read.
   */
  isHole?(offset: number, length: number): boolean;
  /** Writes all of `bytes`, and has no use for them after it has returned. */
  write?(offset: number, bytes: Uint8Array): Promise<void>;
  /** Makes a range of any length read as zeros. */
  zero?(offset: number, length: number, options: ZeroOptions): Promise<void>;
  /** The client does not need the content of a range, of any length, any more. */
  trim?(offset: number, length: number): Promise<void>;
  /** All that was written, zeroed and trimmed before would outlast a failure of the power when it returns. */
  flush?(): Promise<void>;
  /** The client will read a range, of any length, soon. It may return before they are at hand. */
  cache?(offset: number, length: number): Promise<void>;
  /** The connection is done with it; no other call is going on, and none comes behind. */
  release(): Promise<void>;
}

/** Where a server looks up its exports. */
export interface NbdExports {
  /** What `NBD_OPT_LIST` tells. */
  list(): AsyncIterable<{ readonly name: string; readonly description?: string }>;
  /**
   * Opens an export for one connection, which may only want to know its size. @param name the empty one is the default export
   * @returns undefined when there is none of this name
   * @throws ImgstoreError whose message goes to the client
   */
  open(name: string): Promise<NbdExport | undefined>;
}

/** Thrown by {@link NbdExport.zero}: it would take as long as writing the zeros (`NBD_ENOTSUP`). */
export class NotFast extends Error {
  override readonly name = 'NotFast';

  constructor() {
    super('zeros would have to be written here');
  }
}
