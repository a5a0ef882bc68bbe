import type { Socket } from 'node:net';
import { isImgstoreError } from '../../../../errors/index.ts';
import { Lines } from './lines.ts';
import { encodeFailure } from './messages.ts';

/** A client of the control socket: its requests are answered one after the other, and no more are read before. */
export class ControlClient {
  /** Fulfilled when the connection is closed and nothing is under way. */
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  readonly #answer: (line: string) => Promise<string>;
  readonly #lines = new Lines();
  #isEnding = false;
  #isBusy = false;

  /** @param answer never throws */
  constructor(socket: Socket, answer: (line: string) => Promise<string>) {
    this.#socket = socket;
    this.#answer = answer;
    // Of a client that went away, which is all that there is to know.
    socket.on('error', () => {});
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    let work: Promise<void> = Promise.resolve();
    socket.on('data', (chunk: Buffer) => {
      socket.pause();
      work = work.then(() => this.#take(chunk));
    });
    this.ended = closed.then(() => work);
  }

  /** Closes the connection when the request that is under way is answered. */
  end(): void {
    this.#isEnding = true;
    if (!this.#isBusy) this.#socket.end(() => this.#socket.destroy());
  }

  async #take(chunk: Buffer): Promise<void> {
    this.#isBusy = true;
    try {
      for (const line of this.#lines.push(chunk)) {
        if (this.#isEnding || this.#socket.destroyed) break;
        this.#socket.write(await this.#answer(line));
      }
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      this.#isEnding = true;
      this.#socket.write(encodeFailure(error));
    }
    this.#isBusy = false;
    if (this.#isEnding) this.end();
    else this.#socket.resume();
  }
}
