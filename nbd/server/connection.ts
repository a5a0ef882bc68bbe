import type { Socket } from 'node:net';
import { systemCode } from '../../errors/index.ts';
import { ProtocolFault } from '../protocol/fault.ts';
import { StreamEnded } from '../transport/byte-reader.ts';
import { type Agreement, type NegotiationResources, ServerNegotiation } from './negotiation.ts';
import { ServerTransmission, type TransmissionResources } from './transmission.ts';

/** Seconds that a client has from connecting to choosing an export. */
const HANDSHAKE_SECONDS = 30;

/** What connections of a server share. */
export interface ConnectionResources extends NegotiationResources, TransmissionResources {
  readonly handshakeSeconds?: number | undefined;
}

/** One client, from its connecting to the release of its export. */
export class Connection {
  readonly #socket: Socket;
  readonly #resources: ConnectionResources;
  readonly #negotiation: ServerNegotiation;
  #transmission: ServerTransmission | undefined;
  #isShuttingDown = false;

  constructor(socket: Socket, resources: ConnectionResources) {
    this.#socket = socket;
    this.#resources = resources;
    // Whoever waits for the socket hears of it; without a listener it would end the process.
    socket.on('error', () => {});
    this.#negotiation = new ServerNegotiation(socket, resources);
  }

  /** Serves until the connection is closed. It never fails: what goes wrong is the client's, or a notice. */
  async run(): Promise<void> {
    try {
      const agreement = await this.#negotiate();
      if (agreement !== undefined) await this.#transmit(agreement);
    } catch (error) {
      this.#notice(error);
    }
    this.#socket.destroySoon();
  }

  /** Lets the request or option that is under way end, and closes. */
  shutDown(): void {
    this.#isShuttingDown = true;
    if (this.#transmission !== undefined) this.#transmission.shutDown();
    else if (this.#negotiation.shutDown() === 'idle') this.#socket.destroy();
  }

  /** Closes the connection when its client holds memory that others wait for, and does not move. */
  closeIfStalled(): void {
    if (this.#transmission?.isStalled !== true) return;
    this.#resources.onNotice(
      'a client that left its replies or the rest of a write for too long was cut off',
    );
    this.#socket.destroy();
  }

  async #negotiate(): Promise<Agreement | undefined> {
    const { handshakeSeconds = HANDSHAKE_SECONDS } = this.#resources;
    const timer = setTimeout(() => this.#socket.destroy(), handshakeSeconds * 1000);
    try {
      return await this.#negotiation.run();
    } finally {
      clearTimeout(timer);
    }
  }

  async #transmit({ terms, stream, rest }: Agreement): Promise<void> {
    try {
      this.#transmission = new ServerTransmission(stream, terms, this.#resources);
      const served = this.#transmission.run(rest);
      if (this.#isShuttingDown) this.#transmission.shutDown();
      await served;
    } finally {
      await terms.export.release();
    }
  }

  #notice(error: unknown): void {
    // Clients go away as they like.
    if (error instanceof StreamEnded || systemCode(error) !== undefined || this.#socket.destroyed) return;
    const why = error instanceof Error ? error.message : String(error);
    const what = error instanceof ProtocolFault ? 'a client broke the NBD protocol' : 'a connection failed';
    this.#resources.onNotice(`${what}: ${why}`);
  }
}
