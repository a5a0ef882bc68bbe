import type { Command } from 'commander';
import { ImgstoreError } from '../errors/index.ts';
import { type Monitor, nameTask, parseLockTimeout, Store } from '../store/index.ts';
import { ExitCode } from './exit-code.ts';
import { printable } from './printable.ts';
import { interruption } from './signals.ts';

/** Options that every verb has. */
interface GlobalOptions {
  readonly store?: string;
  readonly lockTimeout?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly progress: boolean;
}

/** What a verb works with: where the store is, and how to print. */
export class Context {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly #options: GlobalOptions;
  readonly #verb: string;

  constructor(command: Command) {
    this.#verb = command.name();
    this.#options = command.optsWithGlobals<GlobalOptions>();
    this.json = this.#options.json ?? false;
    this.quiet = this.#options.quiet ?? false;
  }

  /** Opens the store for the time of `work`. @throws ImgstoreError `NO_STORE`. */
  async withStore<T>(work: (store: Store) => Promise<T>): Promise<T> {
    nameTask(`imgstore ${this.#verb}`);
    const asked = this.#options.lockTimeout;
    const lockTimeout = asked === undefined ? undefined : parseLockTimeout(asked);
    if (asked !== undefined && lockTimeout === undefined)
      throw new ImgstoreError('USAGE', `--lock-timeout ${asked}: write seconds, -1 or forever`);
    const named = this.#options.store ?? process.env.IMGSTORE_DIR;
    const onNotice = (text: string) => this.notice(text);
    const options = { onNotice, lockTimeout, signal: interruption };
    const store = named ? await Store.open(named, options) : await Store.find('.', options);
    try {
      return await work(store);
    } finally {
      store.close();
    }
  }

  /** Runs `work` with a progress bar, where one belongs, and a signal that Ctrl-C sets. */
  async monitored<T>(label: string, work: (monitor: Monitor) => Promise<T>): Promise<T> {
    const shown = this.#options.progress && !this.quiet && !this.json && process.stderr.isTTY;
    // Loaded here, so that what draws no bar does not wait for it.
    const bar = shown ? (await import('./progress.ts')).startProgress(label) : undefined;
    try {
      return await work({
        signal: interruption,
        onProgress: bar?.update,
        onNotice: (text) => this.notice(text),
      });
    } finally {
      bar?.stop();
    }
  }

  /** Prints the result: `text` for people, {@link printable}, and `data` for programs. */
  result(data: unknown, text: () => string): void {
    if (this.json) process.stdout.write(`${JSON.stringify(data, nullForUndefined)}\n`);
    else if (!this.quiet) process.stdout.write(printable(text()));
  }

  /** Says, also when quiet, what of the store is damaged, for a verb that goes on with the rest; the exit code is 3 then. */
  damaged(messages: readonly (string | undefined)[]): void {
    for (const message of messages) {
      if (message === undefined) continue;
      process.stderr.write(`imgstore: ${printable(message)}\n`);
      process.exitCode = ExitCode.damage;
    }
  }

  /** Says something that is not the result. */
  notice(text: string): void {
    if (!this.quiet) process.stderr.write(`${printable(text)}\n`);
  }
}

/** The JSON key of what is damaged; other entries do not have it. */
export function damagedJson(damaged: string | undefined): { readonly damaged?: string } {
  return damaged === undefined ? {} : { damaged };
}

/** A key that has no value is there all the same, so that scripts need not ask for it. */
function nullForUndefined(_key: string, value: unknown): unknown {
  return value === undefined ? null : value;
}
