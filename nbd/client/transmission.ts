import type { Socket } from 'node:net';
import type { RequestFailure } from '../protocol/chunk.ts';
import {
  Command,
  EXTENDED_REPLY_MAGIC,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from '../protocol/constants.ts';
import { ProtocolFault } from '../protocol/fault.ts';
import {
  CHUNK_HEADER_BYTES,
  type ChunkHeader,
  EXTENDED_HEADER_BYTES,
  parseChunkHeader,
  parseExtendedHeader,
  parseSimpleReply,
  REPLY_MAGIC_BYTES,
  SIMPLE_REPLY_BYTES,
} from '../protocol/reply.ts';
import { encodeExtendedRequest, encodeRequest, type Request } from '../protocol/request.ts';
import type { ByteReader } from '../transport/byte-reader.ts';
import { asNbdFailure, nbdFailure } from './failure.ts';
import type { Reply } from './reply.ts';
import { Slots } from './slots.ts';

/** What QEMU works on at a time for one client. */
const MAX_IN_FLIGHT = 16;

/** How long a server has to close a connection that both sides have ended. */
const CLOSE_MS = 1000;

/** A request that waits for its reply. */
interface Pending {
  /** Of the request. */
  readonly offset: number;
  readonly reply: Reply;
  readonly resolve: (failure: RequestFailure | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export interface TransmissionOptions {
  /** Names the export in messages. */
  readonly label: string;
  /** Whether structured replies were agreed on. */
  readonly structured: boolean;
  /** Whether extended headers were agreed on. */
  readonly extended: boolean;
  /** Seconds without a byte after which a server that owes a reply is given up. */
  readonly idleSeconds: number;
}

/** The client's side of "Transmission": requests go out, replies come in any order. */
export class Transmission {
  readonly #socket: Socket;
  readonly #reader: ByteReader;
  readonly #options: TransmissionOptions;
  readonly #pending = new Map<bigint, Pending>();
  readonly #slots = new Slots(MAX_IN_FLIGHT);
  #lastCookie = 0n;
  /** Why nothing can be asked any more. */
  #ended: unknown;
  #isClosing = false;

  constructor(socket: Socket, reader: ByteReader, options: TransmissionOptions) {
    this.#socket = socket;
    this.#reader = reader;
    this.#options = options;
    const { idleSeconds, label } = options;
    socket.setTimeout(idleSeconds * 1000, () => {
      if (this.#pending.size > 0)
        this.#fail(nbdFailure(label, `the server has not answered for ${idleSeconds} s`));
    });
    void this.#receive();
  }

  /**
   * Sends a request and waits for all of its reply.
   * @returns why the server could not do it, or undefined
   * @throws ImgstoreError `NBD` when the connection is or breaks off
   */
  async request(request: Omit<Request, 'cookie'>, reply: Reply): Promise<RequestFailure | undefined> {
    await this.#slots.acquire();
    try {
      if (this.#ended !== undefined) throw this.#ended;
      const cookie = ++this.#lastCookie;
      return await new Promise((resolve, reject) => {
        this.#pending.set(cookie, { offset: request.offset, reply, resolve, reject });
        this.#socket.write(this.#encode({ ...request, cookie }));
      });
    } finally {
      this.#slots.release();
    }
  }

  /** Says goodbye (`NBD_CMD_DISC`) and waits until the connection is closed. A second call does nothing. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (!this.#socket.destroyed) {
      const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
      this.#socket.end(this.#encode({ command: Command.disconnect, cookie: 0n, offset: 0, length: 0 }));
      const timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS);
      await closed;
      clearTimeout(timer);
    }
    this.#fail(nbdFailure(this.#options.label, 'was closed'));
  }

  async #receive(): Promise<void> {
    try {
      while (this.#ended === undefined) await this.#receiveOne();
    } catch (error) {
      const when = this.#pending.size > 0 ? 'while it was read' : 'although it was not asked to';
      this.#fail(asNbdFailure(error, this.#options.label, when));
    }
  }

  async #receiveOne(): Promise<void> {
    const magic = (await this.#reader.read(REPLY_MAGIC_BYTES)).readUInt32BE(0);
    const { structured, extended } = this.#options;
    const structuredMagic = extended ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC;
    const expected = structured ? structuredMagic : SIMPLE_REPLY_MAGIC;
    if (magic !== expected)
      throw new ProtocolFault(
        magic === SIMPLE_REPLY_MAGIC
          ? 'it sends a simple reply where structured ones were agreed on'
          : `a reply has the magic 0x${magic.toString(16)}`,
      );
    if (structured) {
      const header = extended ? await this.#extendedHeader() : await this.#chunkHeader();
      await this.#find(header.cookie).reply.takeChunk(header, this.#reader);
      if (header.done) this.#finish(header.cookie);
    } else {
      const { cookie, error } = parseSimpleReply(await this.#reader.read(SIMPLE_REPLY_BYTES));
      await this.#find(cookie).reply.takeSimple(error, this.#reader);
      this.#finish(cookie);
    }
  }

  async #chunkHeader(): Promise<ChunkHeader> {
    return parseChunkHeader(await this.#reader.read(CHUNK_HEADER_BYTES));
  }

  async #extendedHeader(): Promise<ChunkHeader> {
    const header = parseExtendedHeader(await this.#reader.read(EXTENDED_HEADER_BYTES));
    if (header.offset !== BigInt(this.#find(header.cookie).offset))
      throw new ProtocolFault(`it answers the request ${header.cookie} with the offset ${header.offset}`);
    return header;
  }

  #encode(request: Request): Buffer {
    return this.#options.extended ? encodeExtendedRequest(request) : encodeRequest(request);
  }

  #find(cookie: bigint): Pending {
    const pending = this.#pending.get(cookie);
    if (pending === undefined)
      throw new ProtocolFault(`it answers the request ${cookie}, which does not wait for it`);
    return pending;
  }

  #finish(cookie: bigint): void {
    const { reply, resolve } = this.#find(cookie);
    const failure = reply.end();
    this.#pending.delete(cookie);
    resolve(failure);
  }

  /** Ends everything: after a fault nobody knows where the next message begins. */
  #fail(error: unknown): void {
    this.#ended ??= error;
    this.#socket.destroy();
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}
