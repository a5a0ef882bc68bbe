import { hash } from 'node:crypto';
import { AwsV4Signer } from 'aws4fetch';
import type { BucketBody } from '../bucket.ts';
import {
  answerError,
  describeAnswer,
  type ErrorAnswer,
  isPassing,
  parseErrorAnswer,
} from './answer-error.ts';
import { Attempts, interrupted } from './attempts.ts';
import { BrokenAnswer, PassingFault } from './fault.ts';
import { Gate } from './gate.ts';
import { type HttpAnswer, HttpConnections } from './http.ts';
import { percentEncode } from './names.ts';
import type { S3Limits, S3Options } from './options.ts';
import type { S3Settings } from './settings.ts';
import type { Traffic } from './traffic.ts';

const DEFAULT_SIMULTANEOUS = 8;
/** Of an error's body; S3's have some hundred. */
const MAX_ERROR_BYTES = 64 << 10;

/** A request to the bucket or to an object in it. */
export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Undefined: the bucket. */
  readonly key?: string | undefined;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: BucketBody;
  /** What the request is called in messages: `PUT packs/x.pack`. */
  readonly label: string;
}

/** What is made of an answer: by its head and its body. */
export type Receive<T> = (answer: HttpAnswer) => Promise<T>;

/** Sends signed requests, again and again while it may help. */
export class S3Client {
  readonly traffic: Traffic = { requests: 0, sentBytes: 0, receivedBytes: 0 };
  readonly where: string;
  readonly #settings: S3Settings;
  readonly #limits: S3Limits;
  readonly #signal: AbortSignal | undefined;
  readonly #connections: HttpConnections;
  readonly #gate: Gate;
  /** Keys that were derived from the secret, for a day each. */
  readonly #derived = new Map<string, ArrayBuffer>();
  readonly #stop = () => this.#connections.close();

  constructor(settings: S3Settings, options: S3Options, limits: S3Limits) {
    const simultaneous = options.simultaneous ?? DEFAULT_SIMULTANEOUS;
    this.where = settings.where;
    this.#settings = settings;
    this.#limits = limits;
    this.#signal = options.signal;
    const isSecure = settings.base.startsWith('https:');
    this.#connections = new HttpConnections(isSecure, simultaneous, this.#limits, this.traffic);
    this.#gate = new Gate(simultaneous);
    this.#signal?.addEventListener('abort', this.#stop, { once: true });
  }

  close(): void {
    this.#signal?.removeEventListener('abort', this.#stop);
    this.#connections.close();
  }

  /** For a request that goes on after its head: see {@link S3Client.attempt}. */
  attempts(request: S3Request): Attempts {
    return new Attempts(this.#describe(request), this.#limits, this.#signal);
  }

  /** Waits for a place among the requests that run at once; what is returned gives it up. */
  enter(): Promise<() => void> {
    return this.#gate.enter();
  }

  /**
   * Sends a request until an answer was received.
   * @param receive reads the answer to its end; a PassingFault of it leads to another attempt
   * @param accepted answers that say no and are meant to be received all the same
   * @throws ImgstoreError `REMOTE_…`, `NOT_FOUND`, `INTERRUPTED`
   */
  async exchange<T>(
    request: S3Request,
    receive: Receive<T>,
    accepted: (error: ErrorAnswer) => { readonly value: T } | undefined = () => undefined,
    onFault: (error: unknown) => void = () => undefined,
  ): Promise<T> {
    const attempts = this.attempts(request);
    const leave = await this.enter();
    try {
      for (;;)
        try {
          const answer = await this.attempt(request);
          if ('code' in answer) {
            const taken = accepted(answer);
            if (taken !== undefined) return taken.value;
            throw this.refused(request, answer);
          }
          return await receive(answer);
        } catch (error) {
          onFault(error);
          await attempts.again(error);
        }
    } finally {
      leave();
    }
  }

  /** Sends a request once, to clean up after a failure: even when the signal has ended all others, and whatever becomes of it. */
  async tryOnce(request: S3Request): Promise<void> {
    const leave = await this.enter();
    try {
      const answer = await this.#send(request);
      if (!('code' in answer)) await readUpTo(answer, MAX_ERROR_BYTES);
    } catch {
      // The failure before it is the one that is told.
    } finally {
      leave();
    }
  }

  /**
   * Sends a request once. The body of an answer that says no has been read.
   * @throws PassingFault, LastingFault, ImgstoreError `INTERRUPTED`
   */
  async attempt(request: S3Request): Promise<HttpAnswer | ErrorAnswer> {
    if (this.#signal?.aborted) throw interrupted(this.#describe(request));
    return this.#send(request);
  }

  async #send(request: S3Request): Promise<HttpAnswer | ErrorAnswer> {
    const { url, headers } = await this.#sign(request);
    const answer = await this.#connections.send({
      method: request.method,
      url,
      headers,
      body: request.body,
    });
    if (answer.status >= 200 && answer.status < 300) return answer;
    const body = await readUpTo(answer, MAX_ERROR_BYTES);
    const error = parseErrorAnswer(answer, body);
    // With 400 the server was reached all the same: what it got was not what was sent.
    const Fault = error.status === 400 ? BrokenAnswer : PassingFault;
    if (isPassing(error)) throw new Fault(describeAnswer(error), error.retryAfterMs);
    return error;
  }

  /** An answer that says no, as an error. */
  refused(request: S3Request, answer: ErrorAnswer): Error {
    return answerError(this.#describe(request), answer, { url: this.where, key: request.key });
  }

  #describe(request: S3Request): string {
    return `${this.where}: ${request.label}`;
  }

  async #sign(request: S3Request): Promise<{ url: URL; headers: Record<string, string> }> {
    const { base, region, credentials } = this.#settings;
    const path = request.key === undefined ? '' : request.key.split('/').map(percentEncode).join('/');
    const query = Object.entries(request.query ?? {})
      .map(([name, value]) => `${percentEncode(name)}=${percentEncode(value)}`)
      .join('&');
    const { sessionToken, ...key } = credentials;
    const signer = new AwsV4Signer({
      method: request.method,
      url: `${base}/${path}${query === '' ? '' : `?${query}`}`,
      headers: { ...request.headers, 'X-Amz-Content-Sha256': payloadHash(request.body) },
      service: 's3',
      region,
      cache: this.#derived,
      ...key,
      ...(sessionToken === undefined ? {} : { sessionToken }),
    });
    const { url, headers } = await signer.sign();
    return { url, headers: Object.fromEntries(headers) };
  }
}

/** `x-amz-content-sha256`: by it the server checks what arrives. */
function payloadHash(body: BucketBody | undefined): string {
  if (body === undefined) return hash('sha256', '');
  if (body instanceof Uint8Array) return hash('sha256', body);
  return body.sha256 ?? 'UNSIGNED-PAYLOAD';
}

/** The first bytes of a body, whatever there is behind them. */
async function readUpTo(answer: HttpAnswer, most: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of answer.body()) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > most) break;
  }
  return Buffer.concat(pieces);
}

/**
 * A whole body, in memory.
 * @throws BrokenAnswer when it has more bytes than that: no answer of S3 has
 */
export async function readWhole(answer: HttpAnswer, most: number): Promise<Uint8Array> {
  const bytes = await readUpTo(answer, most);
  if (bytes.length > most) throw new BrokenAnswer(`the answer has more than ${most} bytes`);
  return bytes;
}
