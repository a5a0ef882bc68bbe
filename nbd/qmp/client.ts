import { connect } from '../transport/connect.ts';
import type { NbdAddress } from '../uri.ts';
import { asQmpFailure, errorText, qmpFailure } from './failure.ts';
import { isObject, type JsonObject, MessageStream } from './messages.ts';

/** Seconds until the greeting: a socket serves one client after the other, and those who wait hear nothing. */
const GREETING_SECONDS = 10;
/** Seconds for a command. One that must wait for the guest's requests takes as long as its disk. */
const COMMAND_SECONDS = 120;

export interface QmpOptions {
  /** Names the monitor in messages. */
  readonly label: string;
  /** 10 if not said. */
  readonly greetingSeconds?: number | undefined;
  /** 120 if not said. */
  readonly commandSeconds?: number | undefined;
}

/** Something that happened in the machine. */
export interface QmpEvent {
  readonly name: string;
  readonly data: JsonObject;
}

/** A command that waits for its reply. */
interface Pending {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** A connection to the QMP monitor of a QEMU (docs/interop/qmp-spec). Commands may overlap; QEMU does them in order. */
export class QmpClient {
  readonly label: string;
  readonly #stream: MessageStream;
  readonly #commandSeconds: number;
  readonly #pending = new Map<string, Pending>();
  readonly #listeners = new Set<(event: QmpEvent) => void>();
  readonly #greeted: Promise<void>;
  #greet: (error?: Error) => void = () => {};
  #isGreeted = false;
  #lastId = 0;
  #ended: Error | undefined;

  private constructor(socket: Awaited<ReturnType<typeof connect>>, options: QmpOptions) {
    this.label = options.label;
    this.#commandSeconds = options.commandSeconds ?? COMMAND_SECONDS;
    this.#greeted = new Promise((resolve, reject) => {
      this.#greet = (error) => (error === undefined ? resolve() : reject(error));
    });
    this.#stream = new MessageStream(socket, options.label, {
      onMessage: (message) => this.#take(message),
      onEnd: (error) => this.#end(error),
    });
  }

  /** Connects, and leaves the negotiation of capabilities behind. @throws ImgstoreError `QMP` */
  static async connect(address: NbdAddress, options: QmpOptions): Promise<QmpClient> {
    const seconds = options.greetingSeconds ?? GREETING_SECONDS;
    const stop = new AbortController();
    const silent = qmpFailure(
      options.label,
      `it has said nothing for ${seconds} s: another program may be connected, as a QMP socket serves one at a time: end that, or give the machine a second monitor`,
    );
    let client: QmpClient | undefined;
    const timer = setTimeout(() => {
      stop.abort(silent);
      if (client !== undefined) client.#stream.end(silent);
    }, seconds * 1000);
    try {
      client = new QmpClient(await connect(address, stop.signal), options);
      await client.#greeted;
      await client.execute('qmp_capabilities');
      return client;
    } catch (error) {
      client?.close();
      throw asQmpFailure(error, options.label);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Runs a command and returns its result.
   * @throws ImgstoreError `QMP`, with QEMU's reason and `data.class` when it refuses
   */
  async execute(command: string, args?: JsonObject): Promise<unknown> {
    if (this.#ended !== undefined) throw this.#ended;
    const id = `imgstore-${++this.#lastId}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const why = `it has not answered ${command} for ${this.#commandSeconds} s`;
        this.#stream.end(qmpFailure(this.label, why, { command }));
      }, this.#commandSeconds * 1000);
      this.#pending.set(id, { command, resolve, reject, timer });
      this.#stream.send({ execute: command, ...(args === undefined ? {} : { arguments: args }), id });
    });
  }

  /** Calls `listener` for each event from now on. Returns what ends that. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Why nothing can be asked any more; undefined while the connection lasts. */
  get ended(): Error | undefined {
    return this.#ended;
  }

  close(): void {
    this.#stream.end(qmpFailure(this.label, 'the connection was closed'));
  }

  #take(message: JsonObject): void {
    if (!this.#isGreeted) this.#takeGreeting(message);
    else if (typeof message.event === 'string') {
      const event = { name: message.event, data: isObject(message.data) ? message.data : {} };
      for (const listener of this.#listeners) listener(event);
    } else this.#takeReply(message);
  }

  #takeGreeting(message: JsonObject): void {
    if (isObject(message.QMP)) {
      this.#isGreeted = true;
      this.#greet();
    } else this.#break('does not greet as a QMP monitor does: is it a QMP socket?');
  }

  #takeReply(message: JsonObject): void {
    const id = typeof message.id === 'string' ? message.id : '';
    const pending = this.#pending.get(id);
    if (pending === undefined) {
      this.#break('answers what was not asked');
      return;
    }
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    if (isObject(message.error)) pending.reject(this.#refusal(pending.command, message.error));
    else if ('return' in message) pending.resolve(message.return);
    else {
      this.#break('answers with neither a result nor an error');
      pending.reject(this.#ended!);
    }
  }

  #refusal(command: string, error: JsonObject): Error {
    const why = `QEMU refuses ${command}: ${errorText(error.desc)}`;
    return qmpFailure(this.label, why, { command, class: error.class });
  }

  #break(how: string): void {
    this.#stream.end(qmpFailure(this.label, `it ${how}`));
  }

  #end(error: Error): void {
    this.#ended = error;
    this.#greet(error);
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
  }
}

/** Whether QEMU has understood a command and refuses it. @param errorClass of QMP, `GenericError`, `CommandNotFound`, `DeviceNotFound`, …; any if not given */
export function isRefusal(error: unknown, errorClass?: string): boolean {
  const { class: found } = (error as { readonly data?: JsonObject } | undefined)?.data ?? {};
  return typeof found === 'string' && (errorClass === undefined || found === errorClass);
}
