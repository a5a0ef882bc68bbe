import * as http from 'node:http';
import * as https from 'node:https';
import type { BucketBody, RepeatableBody } from '../bucket.ts';
import { bytesBody } from '../bytes-body.ts';
import { BrokenAnswer, connectionFault, PassingFault } from './fault.ts';
import type { S3Limits } from './options.ts';
import type { Traffic } from './traffic.ts';
import { seconds, within } from './waiting.ts';

/** Bytes given to a connection at once: between them it is seen whether the server still takes any. */
const PIECE_BYTES = 256 << 10;

/** A request as it goes over the connection. */
export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  /** Signed; without Content-Length. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: BucketBody | undefined;
}

/** The head of an answer, and its body, which must be read to its end or given up by {@link HttpAnswer.abandon}. */
export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** @throws PassingFault when it breaks off or is not as long as Content-Length says */
  body(): AsyncGenerator<Uint8Array, void>;
  /** Closes the connection. */
  abandon(): void;
}

/** Connections to one server, kept for the next request. */
export class HttpConnections {
  readonly #limits: S3Limits;
  readonly #traffic: Traffic;
  readonly #agent: http.Agent;
  readonly #send: typeof http.request;
  readonly #open = new Set<http.ClientRequest>();

  constructor(isSecure: boolean, simultaneous: number, limits: S3Limits, traffic: Traffic) {
    const settings = { keepAlive: true, maxSockets: simultaneous };
    this.#agent = isSecure ? new https.Agent(settings) : new http.Agent(settings);
    this.#send = isSecure ? https.request : http.request;
    this.#limits = limits;
    this.#traffic = traffic;
  }

  /**
   * Sends a request once.
   * @throws PassingFault, LastingFault, what the body's source throws
   */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    const body = request.body instanceof Uint8Array ? bytesBody(request.body) : request.body;
    this.#traffic.requests++;
    const outgoing = this.#send(request.url, {
      method: request.method,
      agent: this.#agent,
      headers: {
        ...request.headers,
        ...(body === undefined ? {} : { 'Content-Length': String(body.size) }),
      },
    });
    this.#open.add(outgoing);
    outgoing.once('close', () => this.#open.delete(outgoing));
    const sending = new Sending(outgoing, this.#limits);
    try {
      await sending.connected();
      const isWhole = body === undefined || (await this.#sendBody(sending, body));
      if (isWhole) outgoing.end();
      const answer = this.#receive(await sending.answered(), outgoing);
      if (!isWhole && answer.status < 300)
        throw new BrokenAnswer('the server said yes before it had all of the object');
      return answer;
    } catch (error) {
      outgoing.destroy();
      throw error;
    }
  }

  /** Breaks all requests off and closes the connections. */
  close(): void {
    for (const request of this.#open) request.destroy();
    this.#agent.destroy();
  }

  /** @returns false when the server answered in between: it has refused, and wants no more */
  async #sendBody(sending: Sending, body: RepeatableBody): Promise<boolean> {
    let sent = 0;
    for await (const bytes of body.open())
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        if (sending.isAnswered) return false;
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        sent += piece.length;
        if (sent > body.size) throw wrongLength(body.size, sent);
        this.#traffic.sentBytes += piece.length;
        await sending.write(piece);
      }
    if (sent !== body.size) throw wrongLength(body.size, sent);
    return true;
  }

  #receive(incoming: http.IncomingMessage, outgoing: http.ClientRequest): HttpAnswer {
    const headers = Object.fromEntries(
      Object.entries(incoming.headers).map(([name, value]) => [
        name,
        Array.isArray(value) ? value[0] : value,
      ]),
    );
    return {
      status: incoming.statusCode ?? 0,
      headers,
      body: () => this.#bodyOf(incoming, outgoing),
      abandon: () => outgoing.destroy(),
    };
  }

  async *#bodyOf(
    incoming: http.IncomingMessage,
    outgoing: http.ClientRequest,
  ): AsyncGenerator<Uint8Array, void> {
    const { silenceMs } = this.#limits;
    const iterator = incoming[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    let isComplete = false;
    try {
      for (;;) {
        const silent = `silent for ${seconds(silenceMs)} in the middle of an answer`;
        const next = await within(iterator.next(), silenceMs, silent);
        if (next.done) break;
        this.#traffic.receivedBytes += next.value.length;
        yield next.value;
      }
      if (!incoming.complete) throw new PassingFault('the answer broke off');
      isComplete = true;
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'ECONNRESET'
        ? new PassingFault('the answer broke off', undefined, error)
        : connectionFault(error);
    } finally {
      // Of a connection with half an answer in it nothing more can be had. The request may still be on its way, when it was refused early.
      if (!isComplete || !outgoing.writableFinished) outgoing.destroy();
    }
  }
}

/** A request on its way: its parts are waited for, each for so long, and end with the first fault of the connection. */
class Sending {
  readonly #request: http.ClientRequest;
  readonly #limits: S3Limits;
  readonly #answer: Promise<http.IncomingMessage>;
  isAnswered = false;

  constructor(request: http.ClientRequest, limits: S3Limits) {
    this.#request = request;
    this.#limits = limits;
    this.#answer = new Promise((resolve, reject) => {
      request.once('response', (incoming) => {
        this.isAnswered = true;
        resolve(incoming);
      });
      request.on('error', (error) => reject(connectionFault(error)));
      request.once('close', () => reject(new PassingFault('the server broke the connection off')));
    });
    this.#answer.catch(() => undefined);
  }

  connected(): Promise<unknown> {
    const connected = new Promise<void>((resolve) => {
      this.#request.once('socket', (socket) => {
        if (!socket.connecting) resolve();
        else socket.once('encrypted' in socket ? 'secureConnect' : 'connect', () => resolve());
      });
    });
    const { connectMs } = this.#limits;
    return within(
      Promise.race([connected, this.#answer]),
      connectMs,
      `no connection within ${seconds(connectMs)}`,
    );
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#request.write(bytes)) return;
    const drained = new Promise<void>((resolve) => this.#request.once('drain', () => resolve()));
    const { silenceMs } = this.#limits;
    const message = `the server took nothing for ${seconds(silenceMs)}`;
    await within(Promise.race([drained, this.#answer]), silenceMs, message);
  }

  answered(): Promise<http.IncomingMessage> {
    const { silenceMs } = this.#limits;
    return within(this.#answer, silenceMs, `no answer for ${seconds(silenceMs)}`);
  }
}

/** A defect of who gives the bytes: the server could only be told something untrue. */
export function wrongLength(said: number, came: number): Error {
  return new RangeError(
    `a body of ${said} bytes was announced, but ${came < said ? 'only ' : ''}${came} came`,
  );
}
