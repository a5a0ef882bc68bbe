import { createServer, type Server, type Socket } from 'node:net';
import { ImgstoreError, isImgstoreError } from '../../../../errors/index.ts';
import { listenOnSocket } from '../../../../nbd/index.ts';
import type { SessionState } from '../session-state.ts';
import type { Sessions } from '../sessions.ts';
import { ControlClient } from './client.ts';
import { type ControlRequest, encodeFailure, encodeResult, parseRequest } from './messages.ts';

/** Each waits for the one before in most cases. */
const MAX_CONNECTIONS = 16;

/** The server whose sessions are controlled. */
export interface ControlledServer {
  /** Clients that are connected. */
  readonly connections: number;
}

/** What `list` answers. */
export interface ControlList {
  readonly pid: number;
  /** Clients of all exports, also of those that are for reading only. */
  readonly connections: number;
  readonly sessions: readonly SessionState[];
}

/**
 * Listens for requests about sessions on a unix socket that only its owner can connect to.
 * @param path see `controlSocket`
 * @throws ImgstoreError `IN_USE` when a server listens there, `EXISTS`, `IO`
 */
export async function serveControl(
  server: ControlledServer,
  sessions: Sessions,
  path: string,
): Promise<ControlServer> {
  const control = new ControlServer(server, sessions);
  await control.listen(path);
  return control;
}

export class ControlServer {
  /** Fulfilled when a client has asked for the server to stop: whoever runs it closes everything then. */
  readonly stopped: Promise<void>;
  readonly #server: ControlledServer;
  readonly #sessions: Sessions;
  readonly #listener: Server;
  readonly #clients = new Set<ControlClient>();
  #stop = () => {};

  constructor(server: ControlledServer, sessions: Sessions) {
    this.#server = server;
    this.#sessions = sessions;
    this.stopped = new Promise((resolve) => {
      this.#stop = resolve;
    });
    this.#listener = createServer((socket) => this.#accept(socket));
    this.#listener.maxConnections = MAX_CONNECTIONS;
  }

  async listen(path: string): Promise<void> {
    await listenOnSocket(this.#listener, path);
    // Of a client that could not be accepted; it notices that by itself.
    this.#listener.on('error', () => {});
  }

  /** Takes no more requests, waits for those that are under way, and removes the socket. */
  async close(): Promise<void> {
    this.#listener.close();
    for (const client of this.#clients) client.end();
    await Promise.all([...this.#clients].map(({ ended }) => ended));
  }

  #accept(socket: Socket): void {
    const client = new ControlClient(socket, (line) => this.#answer(line));
    this.#clients.add(client);
    void client.ended.then(() => this.#clients.delete(client));
  }

  async #answer(line: string): Promise<string> {
    try {
      return encodeResult(await this.#run(parseRequest(line)));
    } catch (error) {
      return encodeFailure(isImgstoreError(error) ? error : defect(error));
    }
  }

  async #run(request: ControlRequest): Promise<unknown> {
    switch (request.command) {
      case 'list': {
        const { connections } = this.#server;
        const list: ControlList = { pid: process.pid, connections, sessions: await this.#sessions.list() };
        return list;
      }
      case 'commit':
        return this.#sessions.commit(request.name, request);
      case 'discard':
        return this.#sessions.discard(request.name, { force: request.force ?? false });
      case 'stop':
        this.#stop();
        return undefined;
    }
  }
}

/** A client must not wait for ever for what no one has foreseen. */
function defect(error: unknown): ImgstoreError {
  const message = `the server failed: ${error instanceof Error ? error.message : String(error)}`;
  return new ImgstoreError('IO', message.replaceAll('\n', ' '), {}, error);
}
