import { randomInt } from 'node:crypto';
import { connect } from '../transport/connect.ts';
import type { NbdAddress } from '../uri.ts';
import { asQmpFailure, errorText, qmpFailure } from './failure.ts';
import { isObject, type JsonObject, MessageStream } from './messages.ts';

/** Seconds in which an agent that runs answers. */
const SYNC_SECONDS = 5;
/** Seconds for a freeze: the guest writes out what it holds, and programs may be told to. Windows allows ten. */
const FREEZE_SECONDS = 60;
const THAW_SECONDS = 10;
const SENTINEL = Buffer.from([0xff]);

export interface GuestAgentOptions {
  /** Names the agent in messages. */
  readonly label: string;
  /** In which it must answer at first; 5 if not said. */
  readonly syncSeconds?: number | undefined;
  /** For the freeze; 60 if not said. */
  readonly freezeSeconds?: number | undefined;
}

/** A QEMU guest agent (docs/interop/qemu-ga), by the socket of its virtio-serial port. The guest is not trusted. */
export class GuestAgent {
  readonly #label: string;
  readonly #options: GuestAgentOptions;
  readonly #stream: MessageStream;
  #onMessage: ((message: JsonObject) => void) | undefined;
  #onEnd: ((error: Error) => void) | undefined;
  #ended: Error | undefined;

  private constructor(socket: Awaited<ReturnType<typeof connect>>, options: GuestAgentOptions) {
    this.#label = options.label;
    this.#options = options;
    this.#stream = new MessageStream(socket, options.label, {
      onMessage: (message) => this.#onMessage?.(message),
      onEnd: (error) => {
        this.#ended = error;
        this.#onEnd?.(error);
      },
    });
  }

  /** Connects to an agent and finds out whether it answers. @throws ImgstoreError `QMP` */
  static async connect(address: NbdAddress, options: GuestAgentOptions): Promise<GuestAgent> {
    const seconds = options.syncSeconds ?? SYNC_SECONDS;
    // The signal is for the connection as long as that lasts: it must not end one over which file systems are thawed.
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(new Error('cannot be reached')), seconds * 1000);
    let agent: GuestAgent | undefined;
    try {
      agent = new GuestAgent(await connect(address, stop.signal), options);
      clearTimeout(timer);
      await agent.#sync(seconds);
      return agent;
    } catch (error) {
      agent?.close();
      throw asQmpFailure(error, options.label);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Freezes all file systems of the guest, and returns their number. After a failure they may be frozen: {@link GuestAgent.thaw}. @throws ImgstoreError `QMP` */
  async freeze(): Promise<number> {
    const count = await this.#execute('guest-fsfreeze-freeze', this.#options.freezeSeconds ?? FREEZE_SECONDS);
    if (typeof count !== 'number')
      throw qmpFailure(this.#label, 'the guest agent does not say how many file systems it has frozen');
    return count;
  }

  /** @throws ImgstoreError `QMP` */
  async thaw(): Promise<void> {
    // A freeze that took too long may answer before.
    await this.#sync(THAW_SECONDS);
    await this.#execute('guest-fsfreeze-thaw', THAW_SECONDS);
  }

  close(): void {
    this.#stream.end(qmpFailure(this.#label, 'the connection was closed'));
  }

  /** Passes over replies to what others have asked ("guest-sync-delimited"). */
  async #sync(seconds: number): Promise<void> {
    const id = randomInt(2 ** 31);
    const request = { execute: 'guest-sync-delimited', arguments: { id } };
    await this.#request(request, seconds, (message) => message.return === id);
  }

  async #execute(command: string, seconds: number): Promise<unknown> {
    const reply = await this.#request({ execute: command }, seconds, () => true);
    if (!isObject(reply.error)) return reply.return;
    const why = `the guest agent refuses ${command}: ${errorText(reply.error.desc)}`;
    throw qmpFailure(this.#label, why, { command });
  }

  #request(
    message: JsonObject,
    seconds: number,
    isReply: (message: JsonObject) => boolean,
  ): Promise<JsonObject> {
    return new Promise<JsonObject>((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended);
      const timer = setTimeout(() => {
        const why = `the guest agent has not answered ${String(message.execute)} for ${seconds} s: is it running in the guest?`;
        done(() => reject(qmpFailure(this.#label, why)));
      }, seconds * 1000);
      const done = (settle: () => void) => {
        clearTimeout(timer);
        [this.#onMessage, this.#onEnd] = [undefined, undefined];
        settle();
      };
      this.#onMessage = (reply) => isReply(reply) && done(() => resolve(reply));
      this.#onEnd = (error) => done(() => reject(error));
      this.#stream.send(message, SENTINEL);
    });
  }
}
