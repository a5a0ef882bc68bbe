import { isUtf8 } from 'node:buffer';
import type { Socket } from 'node:net';
import { asQmpFailure, qmpFailure } from './failure.ts';

/** What QEMU tells of a machine with thousands of snapshots has some mebibytes. */
const MOST_MESSAGE_BYTES = 32 * 2 ** 20;
/** Which a guest agent sends before a message, where it is asked to ("guest-sync-delimited"). */
const SENTINEL = 0xff;
const NEWLINE = 0x0a;

export type JsonObject = Readonly<Record<string, unknown>>;

/** Who hears what comes in. */
export interface MessageListener {
  readonly onMessage: (message: JsonObject) => void;
  /** Nothing comes any more. Called once. @param error why: an ImgstoreError of code `QMP` */
  readonly onEnd: (error: Error) => void;
}

/** JSON objects over a socket, each a line (docs/interop/qmp-spec of QEMU). The other side is not trusted: what is no such line ends it. */
export class MessageStream {
  readonly #socket: Socket;
  readonly #label: string;
  readonly #listener: MessageListener;
  #pieces: Buffer[] = [];
  #held = 0;
  #ended = false;

  constructor(socket: Socket, label: string, listener: MessageListener) {
    this.#socket = socket;
    this.#label = label;
    this.#listener = listener;
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
    socket.on('error', (error) => this.end(asQmpFailure(error, label)));
    socket.on('close', () => this.end(qmpFailure(label, 'the connection was closed by the other side')));
  }

  /** @param prefix bytes before it */
  send(message: JsonObject, prefix: Uint8Array = Buffer.alloc(0)): void {
    this.#socket.write(Buffer.concat([prefix, Buffer.from(`${JSON.stringify(message)}\n`)]));
  }

  /** Closes the connection. A second call does nothing. */
  end(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#pieces = [];
    this.#socket.destroy();
    this.#listener.onEnd(error);
  }

  #take(bytes: Buffer): void {
    for (let rest = bytes; rest.length > 0 && !this.#ended; ) {
      const at = rest.indexOf(NEWLINE);
      const piece = at < 0 ? rest : rest.subarray(0, at);
      this.#pieces.push(piece);
      this.#held += piece.length;
      if (this.#held > MOST_MESSAGE_BYTES) {
        this.#break(`sends more than ${MOST_MESSAGE_BYTES} bytes in one line`);
        return;
      }
      if (at < 0) return;
      const line = Buffer.concat(this.#pieces);
      [this.#pieces, this.#held] = [[], 0];
      this.#takeLine(line.subarray(line.lastIndexOf(SENTINEL) + 1));
      rest = rest.subarray(at + 1);
    }
  }

  #takeLine(line: Buffer): void {
    const text = isUtf8(line) ? line.toString() : undefined;
    if (text?.trim() === '') return;
    const message = text === undefined ? undefined : parseObject(text);
    if (message === undefined) this.#break('sends what is no JSON object');
    else this.#listener.onMessage(message);
  }

  #break(how: string): void {
    this.end(qmpFailure(this.#label, `it ${how}: is it a QMP socket?`));
  }
}

function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
