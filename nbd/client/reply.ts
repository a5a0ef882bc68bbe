import { MAX_ERROR_BYTES, parseError, type RequestFailure } from '../protocol/chunk.ts';
import { CHUNK_ERROR_BIT, Chunk } from '../protocol/constants.ts';
import { ProtocolFault } from '../protocol/fault.ts';
import type { ChunkHeader } from '../protocol/reply.ts';
import type { ByteReader } from '../transport/byte-reader.ts';

/** More than one error is allowed for a request, but not a stream of them. */
const MAX_ERRORS = 4096;

/** What is awaited for one request. A reply is gathered from chunks, which may come in any order. */
export abstract class Reply {
  #failure: RequestFailure | undefined;
  #errors = 0;

  /** Takes the payload of one chunk, all of it. @throws ProtocolFault */
  async takeChunk(header: ChunkHeader, reader: ByteReader): Promise<void> {
    const { type, length, done } = header;
    if (type === Chunk.none) {
      if (length !== 0 || !done)
        throw new ProtocolFault(`an empty chunk has ${length} bytes, or is not the last`);
    } else if ((type & CHUNK_ERROR_BIT) !== 0) {
      if (length > MAX_ERROR_BYTES) throw new ProtocolFault(`an error has ${length} bytes`);
      if (++this.#errors > MAX_ERRORS)
        throw new ProtocolFault('it answers a request with errors without end');
      const failure = parseError(await reader.read(length), type);
      this.#failure ??= failure;
    } else {
      await this.takeContent(header, reader);
    }
  }

  /** The whole reply to a request where replies are not structured. @throws ProtocolFault */
  async takeSimple(error: number, reader: ByteReader): Promise<void> {
    if (error !== 0) this.#failure = { error, message: '' };
    else await this.takeSimpleContent(reader);
  }

  /** Why the request failed; undefined when it did not, and then everything is there. @throws ProtocolFault when something is missing */
  end(): RequestFailure | undefined {
    if (this.#failure === undefined) this.refuseIncomplete();
    return this.#failure;
  }

  protected abstract takeContent(header: ChunkHeader, reader: ByteReader): Promise<void>;
  protected abstract takeSimpleContent(reader: ByteReader): Promise<void>;
  protected abstract refuseIncomplete(): void;
}
