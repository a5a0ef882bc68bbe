import { createServer, type Server, type Socket } from 'node:net';
import { NBD_PORT, type NbdAddress } from '../uri.ts';
import { Buffers } from './buffers.ts';
import { Connection, type ConnectionResources } from './connection.ts';
import type { NbdExports } from './export.ts';
import { ServerMemory } from './memory.ts';
import type { NegotiationTls } from './negotiation.ts';
import { Notices } from './notices.ts';
import { listenOnPort } from './tcp.ts';
import type { ServerTls } from './tls.ts';
import { listenOnSocket } from './unix-socket.ts';

/** Each has at most 256 KiB of requests by itself and 64 small buffers. */
const MAX_CONNECTIONS = 256;
/** How often it is looked whether clients stand in each other's way. */
const STALL_CHECK_MS = 1000;
/** Clients that vanish without a word are noticed by the system after this and its own patience. */
const KEEP_ALIVE_MS = 60_000;

/** How a server listens: on a unix socket, or on a port. */
export interface NbdServerOptions {
  /** Path of a unix socket; only its owner can connect. */
  readonly socket?: string | undefined;
  /** 127.0.0.1 if not said: who can connect can read. */
  readonly host?: string | undefined;
  /** {@link NBD_PORT} if not said; 0 for any that is free. */
  readonly port?: number | undefined;
  readonly tls?: ServerTls | undefined;
  /** 256 if not said; who comes when there are as many is turned away. */
  readonly maxConnections?: number | undefined;
  /** Seconds that a client has to choose an export; 30 if not said. */
  readonly handshakeSeconds?: number | undefined;
  /** Hears, in one line, of clients that break the protocol and of exports that fail or cannot be opened. What is too much to read is left out. */
  readonly onNotice?: ((line: string) => void) | undefined;
}

/** Serves exports to NBD clients. */
export class NbdServer {
  readonly #server: Server;
  readonly #resources: ConnectionResources;
  readonly #memory = new ServerMemory();
  readonly #buffers = new Buffers();
  /** Each with the promise of its end. */
  readonly #connections = new Map<Connection, Promise<void>>();
  readonly #notices: Notices;
  readonly #stallTimer: NodeJS.Timeout;
  #address: NbdAddress | undefined;
  #isClosing = false;

  private constructor(exports: NbdExports, tls: NegotiationTls | undefined, options: NbdServerOptions) {
    this.#notices = new Notices(options.onNotice ?? (() => {}));
    this.#resources = {
      exports,
      tls,
      memory: this.#memory,
      buffers: this.#buffers,
      onNotice: (line) => this.#notices.give(line),
      handshakeSeconds: options.handshakeSeconds,
    };
    const flags = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    // A client that has sent all its requests may end its side before the replies have come.
    this.#server = createServer({ allowHalfOpen: true, ...flags }, (socket) => this.#accept(socket));
    this.#server.maxConnections = options.maxConnections ?? MAX_CONNECTIONS;
    this.#server.on('drop', () => this.#resources.onNotice('a client was turned away: too many connections'));
    this.#stallTimer = setInterval(() => this.#closeStalled(), STALL_CHECK_MS).unref();
  }

  /**
   * Starts a server.
   * @throws ImgstoreError `IN_USE` when somebody listens there, `EXISTS` for a file that is no socket, `USAGE` for a path that is too long, `IO`, `NOT_FOUND`, and as {@link ServerTls} for certificates
   */
  static async listen(exports: NbdExports, options: NbdServerOptions): Promise<NbdServer> {
    const tls = options.tls && (await tlsOf(options.tls));
    const server = new NbdServer(exports, tls, options);
    try {
      await server.#listen(options);
      return server;
    } catch (error) {
      clearInterval(server.#stallTimer);
      throw error;
    }
  }

  /** Where it listens. */
  get address(): NbdAddress {
    return this.#address!;
  }

  /** Clients that are connected now. */
  get connections(): number {
    return this.#connections.size;
  }

  /**
   * Takes no more clients, lets what is under way end, closes every connection and releases every export. A unix socket is removed. A client that does not take its replies is waited for five
   * seconds. A second call waits as well.
   */
  async close(): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true;
      this.#server.close();
      for (const connection of this.#connections.keys()) connection.shutDown();
    }
    await Promise.all(this.#connections.values());
    this.#notices.sayLeftOut();
    clearInterval(this.#stallTimer);
  }

  async #listen({ socket, host = '127.0.0.1', port = NBD_PORT }: NbdServerOptions): Promise<void> {
    if (socket === undefined) {
      this.#address = { host, port: await listenOnPort(this.#server, host, port) };
    } else {
      await listenOnSocket(this.#server, socket);
      this.#address = { path: socket };
    }
    // Of a client that could not be accepted; the server goes on.
    this.#server.on('error', (error) =>
      this.#resources.onNotice(`a client was turned away: ${error.message}`),
    );
  }

  #accept(socket: Socket): void {
    const connection = new Connection(socket, this.#resources);
    const end = connection.run().then(() => {
      this.#connections.delete(connection);
      if (this.#connections.size === 0) this.#buffers.clear();
    });
    this.#connections.set(connection, end);
    if (this.#isClosing) connection.shutDown();
  }

  #closeStalled(): void {
    if (!this.#memory.hasWaiting) return;
    for (const connection of this.#connections.keys()) connection.closeIfStalled();
  }
}

/** Few servers speak TLS, and Node takes a while to load it. */
async function tlsOf(tls: ServerTls): Promise<NegotiationTls> {
  const { loadTls } = await import('./tls.ts');
  return { options: await loadTls(tls), require: tls.require };
}
