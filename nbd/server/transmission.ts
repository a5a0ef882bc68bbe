import type { Socket } from 'node:net';
import { isImgstoreError } from '../../errors/index.ts';
import { Command } from '../protocol/constants.ts';
import { ErrorValue } from '../protocol/error-values.ts';
import { ProtocolFault } from '../protocol/fault.ts';
import { type ParsedRequest, payloadBytes } from '../protocol/request.ts';
import { answer, memoryOf } from './answer.ts';
import type { Buffers } from './buffers.ts';
import { NotFast } from './export.ts';
import { failureOf } from './failure.ts';
import { refusalOf } from './gate.ts';
import { type Admission, Intake, type RequestTaker } from './intake.ts';
import { MemoryShare, type ServerMemory } from './memory.ts';
import { failureReply, type ReplyBytes } from './replies.ts';
import { MAX_PAYLOAD_BYTES, type Terms } from './terms.ts';

/** Requests of one connection that are under way at a time, what waits to be sent included. nbdcopy asks for 64. */
const MAX_IN_FLIGHT = 64;
/** How long a client may leave what it owes or is owed when others wait for the memory. */
const STALLED_MS = 30_000;
/** How long a client has to take the last replies and to close. */
const CLOSE_MS = 5000;

/** What the connections of a server share. */
export interface TransmissionResources {
  readonly memory: ServerMemory;
  readonly buffers: Buffers;
  readonly onNotice: (line: string) => void;
}

/** The server's side of "Transmission" on one connection: requests come in, replies go out in the order in which they are ready. */
export class ServerTransmission {
  readonly #stream: Socket;
  readonly #terms: Terms;
  readonly #resources: TransmissionResources;
  readonly #intake: Intake;
  readonly #share: MemoryShare;
  readonly #onData = (chunk: Buffer) => this.#guarded(() => this.#intake.push(chunk));
  #resolveDone: (() => void) | undefined;
  /** Requests that were admitted and whose replies are not sent. */
  #inFlight = 0;
  /** Of them, those that the export works on. */
  #running = 0;
  /** No more requests are taken; what is under way goes on. */
  #isEnding = false;
  /** The server closes: what still comes is refused. */
  #isShuttingDown = false;
  #hasFailed = false;
  /** When the client last took or gave something that was waited for. */
  #movedAt = performance.now();
  #closeTimer: NodeJS.Timeout | undefined;

  /** @param stream must have no other reader */
  constructor(stream: Socket, terms: Terms, resources: TransmissionResources) {
    this.#stream = stream;
    this.#terms = terms;
    this.#resources = resources;
    this.#share = new MemoryShare(resources.memory, () => this.#proceed());
    const taker: RequestTaker = {
      admit: (request) => this.#admit(request),
      payloadBuffer: (length) => resources.buffers.take(length),
      take: (request, payload, buffer) => void this.#take(request, payload, buffer),
      drop: (request, buffer) => {
        resources.buffers.give(buffer);
        this.#finish(memoryOf(request));
      },
    };
    this.#intake = new Intake(taker, terms.extended);
  }

  /** Serves until the connection is closed and nothing is under way. @param rest what was read of the stream before */
  run(rest: Buffer): Promise<void> {
    const stream = this.#stream;
    return new Promise((resolve) => {
      this.#resolveDone = resolve;
      stream.on('data', this.#onData);
      stream.on('end', () => this.#end());
      stream.on('close', () => this.#closed());
      if (rest.length > 0) this.#onData(rest);
      if (stream.destroyed) this.#closed();
      else if (stream.readableEnded) this.#end();
      else if (!this.#intake.isWaiting) stream.resume();
    });
  }

  /** Lets what is under way end, and then closes the connection. */
  shutDown(): void {
    this.#isShuttingDown = true;
    this.#hurry();
    if (this.#inFlight === 0) this.#end();
  }

  /** True when the client has not moved for a while and holds memory that others could have. */
  get isStalled(): boolean {
    const isClientsTurn = this.#stream.writableLength > 0 || this.#intake.isWithinRequest;
    return isClientsTurn && this.#share.holdsShared && performance.now() - this.#movedAt > STALLED_MS;
  }

  #proceed(): void {
    if (!this.#intake.isWaiting || this.#stream.destroyed) return;
    this.#guarded(() => this.#intake.proceed());
    if (!this.#intake.isWaiting && !this.#isEnding) this.#stream.resume();
  }

  /** Closes the connection of a client that has lost its way: where the next request begins is not known. */
  #guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof ProtocolFault)) throw error;
      this.#resources.onNotice(
        `${this.#terms.export.name}: a client broke the NBD protocol: ${error.message}`,
      );
      this.#intake.end();
      this.#stream.destroy();
    }
    if (this.#intake.isWaiting) this.#stream.pause();
  }

  #admit(request: ParsedRequest): Admission {
    if (request.command === Command.disconnect) {
      this.#end();
      return 'end';
    }
    if (this.#inFlight >= MAX_IN_FLIGHT) return 'wait';
    const refusal = this.#isShuttingDown
      ? { error: ErrorValue.shutdown, message: 'the server is shutting down' }
      : refusalOf(request, this.#terms);
    if (refusal !== undefined) {
      // A refused payload is passed over.
      const payload = payloadBytes(request, this.#terms.extended);
      if (payload > MAX_PAYLOAD_BYTES) throw new ProtocolFault(`it announces a payload of ${payload} bytes`);
      this.#inFlight++;
      this.#send(failureReply(request, this.#terms, refusal), 0);
      return 'refuse';
    }
    if (!this.#share.reserve(memoryOf(request))) return 'wait';
    this.#inFlight++;
    return 'take';
  }

  async #take(request: ParsedRequest, payload: Buffer, buffer: Buffer | undefined): Promise<void> {
    const { buffers } = this.#resources;
    let reply: ReplyBytes;
    this.#running++;
    try {
      reply = await answer(request, payload, this.#terms, buffers);
      if (buffer !== undefined) buffers.give(buffer);
    } catch (error) {
      this.#note(error);
      reply = failureReply(request, this.#terms, failureOf(error));
    }
    this.#running--;
    this.#send(reply, memoryOf(request));
  }

  /** @param memory bytes that are given back when the reply is sent */
  #send({ bytes, buffer }: ReplyBytes, memory: number): void {
    if (this.#stream.destroyed) {
      this.#finish(memory);
      return;
    }
    if (this.#stream.writableLength === 0) this.#movedAt = performance.now();
    this.#stream.write(bytes, (error) => {
      // After an error the system may not be done with the buffer.
      if (buffer !== undefined && !error) this.#resources.buffers.give(buffer);
      this.#movedAt = performance.now();
      this.#finish(memory);
    });
  }

  #finish(memory: number): void {
    this.#inFlight--;
    this.#share.release(memory);
    this.#proceed();
    if (this.#inFlight > 0) return;
    if (this.#isShuttingDown) this.#end();
    else if (this.#isEnding) this.#close();
  }

  /** Tells the operator, once for a connection: a client may ask for the same sector for ever. */
  #note(error: unknown): void {
    if (this.#hasFailed || error instanceof NotFast) return;
    this.#hasFailed = true;
    const text = isImgstoreError(error) ? error.message : `unexpected failure: ${String(error)}`;
    this.#resources.onNotice(`${this.#terms.export.name}: a request failed: ${text}`);
  }

  /** Takes no more requests, and closes when all have been answered. */
  #end(): void {
    if (!this.#isEnding) {
      this.#isEnding = true;
      this.#hurry();
      this.#stopIntake();
    }
    if (this.#inFlight === 0) this.#close();
  }

  #stopIntake(): void {
    this.#intake.end();
    this.#share.end();
    // What still comes is read, else the end of the stream would never be seen.
    this.#stream.off('data', this.#onData);
    this.#stream.resume();
  }

  #close(): void {
    if (this.#stream.destroyed) this.#resolveDone?.();
    else if (!this.#stream.writableEnded) this.#stream.end();
  }

  /** From now on a client that leaves what it is owed, or does not close, is waited for {@link CLOSE_MS} only. What the export works on may take its time. */
  #hurry(): void {
    this.#movedAt = performance.now();
    this.#closeTimer ??= setInterval(() => {
      if (this.#running === 0 && performance.now() - this.#movedAt > CLOSE_MS) this.#stream.destroy();
    }, CLOSE_MS / 5);
  }

  #closed(): void {
    clearInterval(this.#closeTimer);
    this.#isEnding = true;
    this.#stopIntake();
    if (this.#inFlight === 0) this.#resolveDone?.();
  }
}
