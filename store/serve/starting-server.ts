import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fromSystem } from '../../errors/index.ts';

/** What of its words is looked at for the reason of a failure. */
const MOST_WORDS_BYTES = 4096;

/** A server that was started and may not listen yet. It goes on when this process ends; what it says goes to `imgstore/serve.log` in the store. */
export class StartingServer {
  /** Where it will listen. */
  readonly socket: string;
  readonly #child: ChildProcess;
  readonly #log: string;
  /** Where in the log its words begin. */
  readonly #logStart: number;
  #end: string | undefined;

  private constructor(socket: string, child: ChildProcess, log: { path: string; start: number }) {
    this.socket = socket;
    this.#child = child;
    this.#log = log.path;
    this.#logStart = log.start;
    child.once('error', (error) => {
      this.#end = error.message;
    });
    child.once('exit', (code, signal) => {
      this.#end = signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`;
    });
    child.unref();
  }

  /**
   * @param folder of the store
   * @param socket absolute path
   * @param command the program and first arguments that are imgstore
   * @throws ImgstoreError `IO` when the log cannot be written
   */
  static start(folder: string, socket: string, command: readonly string[]): StartingServer {
    const path = join(folder, 'imgstore', 'serve.log');
    const fd = openLog(path);
    try {
      const start = statSync(path).size;
      const [program, ...first] = command;
      const args = [...first, '--store', folder, 'serve', '--socket', socket];
      // Of no terminal and no folder: it outlives both.
      const child = spawn(program!, args, { cwd: '/', detached: true, stdio: ['ignore', 'ignore', fd] });
      return new StartingServer(socket, child, { path, start });
    } finally {
      closeSync(fd);
    }
  }

  /** Why it has ended, by its own last words where it had any; undefined while it runs. */
  get end(): string | undefined {
    return this.#end === undefined ? undefined : lastLine(this.#log, this.#logStart) || this.#end;
  }

  stop(): void {
    this.#child.kill();
  }
}

function openLog(path: string): number {
  try {
    return openSync(path, 'a', 0o600);
  } catch (error) {
    throw fromSystem(error, path);
  }
}

/** The last line that was written to a log from an offset on, less the program's name; empty when there is none. */
function lastLine(log: string, from: number): string {
  const text = readFileSync(log).subarray(from).subarray(-MOST_WORDS_BYTES).toString('utf8');
  const last = text.split('\n').findLast((line) => line.trim() !== '');
  return last?.replace(/^imgstore: /, '').trim() ?? '';
}
