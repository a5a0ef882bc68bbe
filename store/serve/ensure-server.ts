import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromSystem, ImgstoreError } from '../../errors/index.ts';
import { isListening } from '../../nbd/index.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import type { Store } from '../store.ts';

/** How long a server may take until it listens. */
const START_MS = 30_000;
const POLL_MS = 10;
/** What of its words is looked at for the reason of a failure. */
const MOST_WORDS_BYTES = 4096;

/**
 * Makes sure that a server of the store's versions listens on a socket: the one that does, or a new one, which goes on when this process ends. What a new one says goes to
 * `imgstore/serve.log` in the store.
 * @param socket absolute path
 * @param command the program and first arguments that are imgstore
 * @throws ImgstoreError `NBD` when it does not start, with what it said; `IO` for a socket that may not be connected to; `INTERRUPTED`
 */
export async function ensureServer(
  store: Store,
  socket: string,
  command: readonly string[],
  monitor: Monitor = {},
): Promise<void> {
  if (await isListening(socket)) return;
  const log = join(store.folder, 'imgstore', 'serve.log');
  const fd = openLog(log);
  const before = statSync(log).size;
  const [program, ...first] = command;
  const args = [...first, '--store', store.folder, 'serve', '--socket', socket];
  let child: ChildProcess;
  try {
    // Of no terminal and no folder: it outlives both.
    child = spawn(program!, args, { cwd: '/', detached: true, stdio: ['ignore', 'ignore', fd] });
  } finally {
    closeSync(fd);
  }
  await waitForServer({ child, socket, said: () => lastLine(log, before) }, monitor);
  child.unref();
}

/** A server that was started, and what it has said last. */
interface StartedServer {
  readonly child: ChildProcess;
  readonly socket: string;
  readonly said: () => string;
}

async function waitForServer({ child, socket, said }: StartedServer, monitor: Monitor): Promise<void> {
  let end: string | undefined;
  child.once('error', (error) => {
    end = error.message;
  });
  child.once('exit', (code, signal) => {
    end = signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`;
  });
  for (const deadline = Date.now() + START_MS; ; await sleep(POLL_MS)) {
    const ended = end;
    if (await isListening(socket)) return;
    if (ended !== undefined) throw notStarted(socket, said() || ended);
    try {
      throwIfStopped(monitor);
      if (Date.now() > deadline) throw notStarted(socket, `it does not listen after ${START_MS / 1000} s`);
    } catch (error) {
      child.kill();
      throw error;
    }
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

function notStarted(socket: string, why: string): ImgstoreError {
  return new ImgstoreError(
    'NBD',
    `${socket}: the server did not start: ${why}: start it by hand with 'imgstore serve', or pass --no-serve`,
    { path: socket },
  );
}
