import { DATA_OFFSET_BYTES, HOLE_BYTES, parseDataOffset, parseHole } from '../protocol/chunk.ts';
import { Chunk } from '../protocol/constants.ts';
import { ProtocolFault } from '../protocol/fault.ts';
import type { ChunkHeader } from '../protocol/reply.ts';
import type { ByteReader } from '../transport/byte-reader.ts';
import { Coverage } from './coverage.ts';
import { Reply } from './reply.ts';

/** The reply to `NBD_CMD_READ`; data go from the socket to where they belong. */
export class ReadReply extends Reply {
  readonly #offset: number;
  readonly #into: Uint8Array;
  readonly #coverage: Coverage;

  /** @param offset of the request in bytes; as many are read as `into` has */
  constructor(offset: number, into: Uint8Array) {
    super();
    this.#offset = offset;
    this.#into = into;
    this.#coverage = new Coverage(into.length);
  }

  protected async takeContent({ type, length }: ChunkHeader, reader: ByteReader): Promise<void> {
    switch (type) {
      case Chunk.offsetData: {
        if (length <= DATA_OFFSET_BYTES || length > DATA_OFFSET_BYTES + this.#into.length)
          throw new ProtocolFault(
            `a chunk of data has ${length} bytes where ${this.#into.length} were asked for`,
          );
        const offset = parseDataOffset(await reader.read(DATA_OFFSET_BYTES));
        await reader.readInto(this.#place(offset, length - DATA_OFFSET_BYTES));
        break;
      }
      case Chunk.offsetHole: {
        if (length !== HOLE_BYTES) throw new ProtocolFault(`a hole has ${length} bytes`);
        const hole = parseHole(await reader.read(HOLE_BYTES));
        this.#place(hole.offset, hole.length).fill(0);
        break;
      }
      default:
        throw new ProtocolFault(`it answers a read with a chunk of type ${type}`);
    }
  }

  protected async takeSimpleContent(reader: ByteReader): Promise<void> {
    await reader.readInto(this.#place(this.#offset, this.#into.length));
  }

  protected refuseIncomplete(): void {
    if (!this.#coverage.isComplete) throw new ProtocolFault('it ends a read before all data have come');
  }

  /** Where bytes of the export belong, which must not have come before. */
  #place(offset: number, length: number): Uint8Array {
    const start = offset - this.#offset;
    this.#coverage.add(start, start + length);
    return this.#into.subarray(start, start + length);
  }
}
