import {
  isExtendedStatusLength,
  isStatusLength,
  parseExtendedStatus,
  parseStatus,
  type StatusChunk,
} from '../protocol/block-status.ts';
import { Chunk } from '../protocol/constants.ts';
import { ProtocolFault } from '../protocol/fault.ts';
import type { MetaContext } from '../protocol/meta-context.ts';
import type { ChunkHeader } from '../protocol/reply.ts';
import type { ByteReader } from '../transport/byte-reader.ts';
import { Reply } from './reply.ts';

/** The reply to `NBD_CMD_BLOCK_STATUS`: one chunk for each metadata context. */
export class StatusReply extends Reply {
  readonly #contexts: readonly MetaContext[];
  readonly #extended: boolean;
  readonly #chunks = new Map<number, StatusChunk>();

  /** @param extended whether extended headers were agreed on */
  constructor(contexts: readonly MetaContext[], extended: boolean) {
    super();
    this.#contexts = contexts;
    this.#extended = extended;
  }

  /** Of a context, once the reply has ended without failure. */
  chunk(context: MetaContext): StatusChunk {
    return this.#chunks.get(context.id)!;
  }

  protected async takeContent({ type, length }: ChunkHeader, reader: ByteReader): Promise<void> {
    if (type !== (this.#extended ? Chunk.extendedBlockStatus : Chunk.blockStatus))
      throw new ProtocolFault(`it answers a block status with a chunk of type ${type}`);
    const isLength = this.#extended ? isExtendedStatusLength : isStatusLength;
    if (!isLength(length)) throw new ProtocolFault(`a block status has ${length} bytes`);
    const payload = await reader.read(length);
    const chunk = this.#extended ? parseExtendedStatus(payload) : parseStatus(payload);
    if (!this.#contexts.some(({ id }) => id === chunk.contextId))
      throw new ProtocolFault(
        `a block status is about the metadata context ${chunk.contextId}, which was not agreed on`,
      );
    if (this.#chunks.has(chunk.contextId))
      throw new ProtocolFault(`it tells the block status of metadata context ${chunk.contextId} twice`);
    this.#chunks.set(chunk.contextId, chunk);
  }

  protected async takeSimpleContent(): Promise<void> {
    throw new ProtocolFault('it answers a block status without a structured reply');
  }

  protected refuseIncomplete(): void {
    const missing = this.#contexts.find(({ id }) => !this.#chunks.has(id));
    if (missing !== undefined)
      throw new ProtocolFault(`it does not tell the block status of ${JSON.stringify(missing.name)}`);
  }
}
