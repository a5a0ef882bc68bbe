import {
  EXTENDED_REQUEST_BYTES,
  type ParsedRequest,
  parseExtendedRequest,
  parseRequest,
  payloadBytes,
  REQUEST_BYTES,
} from '../protocol/request.ts';

/**
 * What becomes of a request whose header has come: it is taken, with the payload of a write; its payload is passed over, since it was refused; it waits, until
 * {@link Intake.proceed}; or it was the last.
 */
export type Admission = 'take' | 'refuse' | 'wait' | 'end';

/** Who takes requests in. */
export interface RequestTaker {
  /** Called again for a request that waited. */
  admit(request: ParsedRequest): Admission;
  /** Memory for a payload that arrives in pieces: at least `length` bytes. */
  payloadBuffer(length: number): Buffer;
  /**
   * @param payload of a write
   * @param buffer that the payload is in if it came from {@link RequestTaker.payloadBuffer}
   */
  take(request: ParsedRequest, payload: Buffer, buffer: Buffer | undefined): void;
  /** The rest of a payload will not come. */
  drop(request: ParsedRequest, buffer: Buffer): void;
}

const NOTHING = Buffer.alloc(0);

/** A payload that is coming. */
interface Payload {
  readonly request: ParsedRequest;
  readonly buffer: Buffer;
  /** Bytes that are there. */
  length: number;
}

/**
 * Cuts what a socket delivers into requests. A payload that came in one piece is handed on where it lies; only headers that are cut in two and payloads of several pieces
 * are copied.
 */
export class Intake {
  readonly #taker: RequestTaker;
  readonly #extended: boolean;
  /** What has not been looked at: from `at` on. */
  #chunk: Buffer = NOTHING;
  #at = 0;
  /** The front of a header whose rest has not come. */
  readonly #header: Buffer;
  #headerLength = 0;
  #waiting: ParsedRequest | undefined;
  #payload: Payload | undefined;
  /** Bytes to pass over. */
  #skip = 0;
  #ended = false;

  /** @param extended whether extended headers were agreed on */
  constructor(taker: RequestTaker, extended = false) {
    this.#taker = taker;
    this.#extended = extended;
    this.#header = Buffer.alloc(extended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES);
  }

  /** A request waits: nothing more should be pushed until it does no more. */
  get isWaiting(): boolean {
    return this.#waiting !== undefined;
  }

  /** The client owes the rest of a request. */
  get isWithinRequest(): boolean {
    return this.#payload !== undefined || this.#skip > 0 || this.#headerLength > 0;
  }

  /** @throws ProtocolFault when the client has lost its way; nothing may be pushed after it */
  push(chunk: Buffer): void {
    const rest = this.#chunk.length - this.#at;
    this.#chunk = rest === 0 ? chunk : Buffer.concat([this.#chunk.subarray(this.#at), chunk]);
    this.#at = 0;
    this.#parse();
  }

  /** Asks about the waiting request once more, and goes on if it need not wait. @throws ProtocolFault as {@link push} */
  proceed(): void {
    const request = this.#waiting;
    if (request === undefined || this.#ended) return;
    this.#waiting = undefined;
    this.#begin(request);
    this.#parse();
  }

  /** Looks at nothing more. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    const payload = this.#payload;
    this.#payload = undefined;
    this.#waiting = undefined;
    this.#chunk = NOTHING;
    this.#at = 0;
    if (payload !== undefined) this.#taker.drop(payload.request, payload.buffer);
  }

  #parse(): void {
    while (!this.#ended && this.#waiting === undefined) {
      if (this.#at === this.#chunk.length) {
        this.#chunk = NOTHING;
        this.#at = 0;
        return;
      }
      if (this.#skip > 0) this.#passOver();
      else if (this.#payload !== undefined) this.#fill(this.#payload);
      else {
        const request = this.#nextHeader();
        if (request !== undefined) this.#begin(request);
      }
    }
  }

  #nextHeader(): ParsedRequest | undefined {
    const parse = this.#extended ? parseExtendedRequest : parseRequest;
    const needed = this.#header.length;
    const chunk = this.#chunk;
    const at = this.#at;
    if (this.#headerLength === 0 && chunk.length - at >= needed) {
      this.#at = at + needed;
      return parse(chunk, at);
    }
    const copied = chunk.copy(this.#header, this.#headerLength, at);
    this.#at += copied;
    this.#headerLength += copied;
    if (this.#headerLength < needed) return undefined;
    this.#headerLength = 0;
    return parse(this.#header, 0);
  }

  #begin(request: ParsedRequest): void {
    const payloadLength = payloadBytes(request, this.#extended);
    switch (this.#taker.admit(request)) {
      case 'take': {
        const end = this.#at + payloadLength;
        if (end <= this.#chunk.length) {
          const payload = this.#chunk.subarray(this.#at, end);
          this.#at = end;
          this.#taker.take(request, payload, undefined);
        } else {
          const buffer = this.#taker.payloadBuffer(payloadLength);
          this.#payload = { request, buffer, length: 0 };
        }
        break;
      }
      case 'refuse':
        this.#skip = payloadLength;
        break;
      case 'wait':
        this.#waiting = request;
        break;
      case 'end':
        this.end();
        break;
    }
  }

  #passOver(): void {
    const count = Math.min(this.#skip, this.#chunk.length - this.#at);
    this.#skip -= count;
    this.#at += count;
  }

  #fill(payload: Payload): void {
    const { request, buffer } = payload;
    const count = Math.min(request.length - payload.length, this.#chunk.length - this.#at);
    this.#chunk.copy(buffer, payload.length, this.#at, this.#at + count);
    this.#at += count;
    payload.length += count;
    if (payload.length < request.length) return;
    this.#payload = undefined;
    this.#taker.take(request, buffer.subarray(0, request.length), buffer);
  }
}
