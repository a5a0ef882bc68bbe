import { type BlockSource, readPadded } from '../../block/index.ts';
import { badImage } from '../meta/fault.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { type ClusterDecompressor, loadDecompressor } from './decompress.ts';

/** Compressed clusters that lie close together are read at once, up to this many host bytes. */
const BATCH_BYTES = 1024 * 1024;

/** A part of one compressed cluster that a caller wants. */
export interface CompressedPart {
  /** Guest offset of the part. */
  readonly guest: number;
  /** Host offset of the compressed stream. */
  readonly host: number;
  /** Host bytes to read. */
  readonly stored: number;
  readonly into: Uint8Array;
}

/** Reads and decodes compressed clusters; keeps the one that was last read in part, since the rest often follows. */
export class CompressedReader {
  readonly #host: BlockSource;
  readonly #header: Qcow2Header;
  readonly #clusterSize: number;
  readonly #image: string;
  #decompress: ClusterDecompressor | undefined;
  #last: { readonly host: number; readonly stored: number; readonly bytes: Buffer } | undefined;

  constructor(host: BlockSource, header: Qcow2Header, image: string) {
    this.#host = host;
    this.#header = header;
    this.#clusterSize = 2 ** header.clusterBits;
    this.#image = image;
  }

  /** Fills all `parts`, given in guest order. */
  async read(parts: readonly CompressedPart[]): Promise<void> {
    for (let from = 0; from < parts.length; ) {
      const first = parts[from]!;
      let end = first.host + first.stored;
      let to = from + 1;
      for (; to < parts.length; to++) {
        const next = parts[to]!;
        // Neighbours share the sector where one ends and the next begins.
        if (next.host < first.host || next.host > end) break;
        const reach = Math.max(end, next.host + next.stored);
        if (reach - first.host > BATCH_BYTES) break;
        end = reach;
      }
      await this.#readBatch(parts.slice(from, to), first.host, end - first.host);
      from = to;
    }
  }

  async #readBatch(parts: readonly CompressedPart[], host: number, length: number): Promise<void> {
    const [only] = parts;
    if (parts.length === 1 && only !== undefined && this.#isLast(only)) {
      this.#copy(only, this.#last!.bytes);
      return;
    }
    this.#decompress ??= await loadDecompressor(this.#header.compressionType);
    const stored = Buffer.allocUnsafe(length);
    // The stream's last sector may reach beyond the end of the file.
    await readPadded(this.#host, host, stored);
    for (const part of parts) {
      const start = part.host - host;
      const bytes = this.#isLast(part)
        ? this.#last!.bytes
        : this.#decode(this.#decompress, part, stored.subarray(start, start + part.stored));
      this.#copy(part, bytes);
    }
  }

  #isLast(part: CompressedPart): boolean {
    return this.#last !== undefined && this.#last.host === part.host && this.#last.stored === part.stored;
  }

  #decode(decompress: ClusterDecompressor, part: CompressedPart, stored: Buffer): Buffer {
    let bytes: Buffer;
    try {
      bytes = decompress(stored, this.#clusterSize);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw badImage(
        this.#image,
        `the compressed cluster for guest offset ${part.guest} at offset ${part.host} does not decode: ${why}`,
        { guestOffset: part.guest, offset: part.host },
      );
    }
    if (part.into.length < this.#clusterSize) this.#last = { host: part.host, stored: part.stored, bytes };
    return bytes;
  }

  #copy(part: CompressedPart, bytes: Buffer): void {
    const within = part.guest % this.#clusterSize;
    part.into.set(bytes.subarray(within, within + part.into.length));
  }
}
