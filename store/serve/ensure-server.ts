import { realpath } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { ImgstoreError } from '../../errors/index.ts';
import { isListening } from '../../nbd/index.ts';
import { findStore, storeAt } from '../location.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import type { Store } from '../store.ts';
import { socketPath } from './export-uri.ts';
import { StartingServer } from './starting-server.ts';

/** How long a server may take until it listens. */
const START_MS = 30_000;
const POLL_MS = 10;

/** By what a server is started. */
export interface ServerProgram {
  /** The program and first arguments that are imgstore. */
  readonly command: readonly string[];
  /** Gives over a server that was started before it was needed, if there is one. */
  readonly started?: (() => StartingServer | undefined) | undefined;
}

/**
 * Makes sure that a server of the store's versions listens on a socket: the one that does, or a new one, which goes on when this process ends.
 * @param socket absolute path
 * @throws ImgstoreError `NBD` when it does not start, with what it said; `IO` for a socket that may not be connected to; `INTERRUPTED`
 */
export async function ensureServer(
  store: Store,
  socket: string,
  { command, started }: ServerProgram,
  monitor: Monitor = {},
): Promise<void> {
  const early = started?.();
  const isOurs = early?.socket === socket;
  if (!isOurs) early?.stop();
  if (await isListening(socket)) return;
  const server = isOurs ? early : StartingServer.start(store.folder, socket, command);
  await waitForServer(server, monitor);
}

/**
 * Starts the server that {@link ensureServer} will need, while the rest of the program is still being loaded: that takes as long as the server takes to start.
 * @param where `store`: as the user has named it, else the nearest is meant; `socket`: as the user has named it
 * @returns undefined when somebody listens there
 * @throws ImgstoreError as opening the store does
 */
export async function startServerEarly(
  where: { readonly store: string | undefined; readonly socket: string | undefined },
  command: readonly string[],
): Promise<StartingServer | undefined> {
  const named = where.store ?? process.env.IMGSTORE_DIR;
  const folder = await realpath(named ? storeAt(named) : findStore('.'));
  const socket = socketPath({ folder }, where.socket);
  return (await isListening(socket)) ? undefined : StartingServer.start(folder, socket, command);
}

async function waitForServer(server: StartingServer, monitor: Monitor): Promise<void> {
  const { socket } = server;
  for (const deadline = Date.now() + START_MS; ; await sleep(POLL_MS)) {
    const { end } = server;
    if (await isListening(socket)) return;
    if (end !== undefined) throw notStarted(socket, end);
    try {
      throwIfStopped(monitor);
      if (Date.now() > deadline) throw notStarted(socket, `it does not listen after ${START_MS / 1000} s`);
    } catch (error) {
      server.stop();
      throw error;
    }
  }
}

function notStarted(socket: string, why: string): ImgstoreError {
  return new ImgstoreError(
    'NBD',
    `${socket}: the server did not start: ${why}: start it by hand with 'imgstore serve', or pass --no-serve`,
    { path: socket },
  );
}
