import type { Socket } from 'node:net';
import { ImgstoreError } from '../../errors/index.ts';
import { ALLOCATION_CONTEXT } from '../protocol/constants.ts';
import type { ListedExport } from '../protocol/listed-export.ts';
import { ByteReader } from '../transport/byte-reader.ts';
import { connect } from '../transport/connect.ts';
import type { NbdAddress, NbdLocation } from '../uri.ts';
import { asNbdFailure, nbdFailure } from './failure.ts';
import { type Agreement, Negotiation } from './negotiation.ts';
import { Transmission } from './transmission.ts';

/** Seconds that a server has from the first packet to the agreement. */
const NEGOTIATION_SECONDS = 30;
/** Seconds that a server may owe a reply without sending a byte; disks that spin up take some. */
const IDLE_SECONDS = 120;

/** How to open a connection. */
export interface NbdOptions {
  /** Names the server or the export in messages: its URI, or the file that it serves. */
  readonly label: string;
  /** Ends the connection. */
  readonly signal?: AbortSignal | undefined;
  /** Metadata contexts besides `base:allocation`, such as `qemu:dirty-bitmap:NAME`. Those that the server lacks are left out. */
  readonly contexts?: readonly string[] | undefined;
  /** 30 if not said. */
  readonly negotiationSeconds?: number | undefined;
  /** 120 if not said. */
  readonly idleSeconds?: number | undefined;
}

/** A connection that has come to transmission. */
export interface OpenedExport {
  readonly agreement: Agreement;
  readonly transmission: Transmission;
}

/** Connects and negotiates for one export. @throws ImgstoreError as {@link NbdSource.open} */
export function openExport({ address, exportName }: NbdLocation, options: NbdOptions): Promise<OpenedExport> {
  return withConnection(address, options, async (socket, reader, negotiation) => {
    const extended = await negotiation.extendedHeaders();
    const structured = extended || (await negotiation.structuredReplies());
    const names = [ALLOCATION_CONTEXT, ...(options.contexts ?? [])];
    const contexts = structured ? await negotiation.metaContexts(exportName, names) : [];
    const info = await negotiation.go(exportName);
    const { minimum } = info.blockSizes;
    if (info.size % minimum !== 0) {
      throw nbdFailure(
        options.label,
        `the end of the export cannot be read: its size ${info.size} is no multiple of the minimum block size ${minimum}`,
      );
    }
    const transmission = new Transmission(socket, reader, {
      label: options.label,
      structured,
      extended,
      idleSeconds: options.idleSeconds ?? IDLE_SECONDS,
    });
    return { agreement: { ...info, structured, extended, contexts }, transmission };
  });
}

/** The exports that a server tells of. @throws ImgstoreError `NBD`, `UNSUPPORTED` where TLS is required */
export function listExports(address: NbdAddress, options: NbdOptions): Promise<readonly ListedExport[]> {
  return withConnection(address, options, async (socket, _reader, negotiation) => {
    const exports = await negotiation.list();
    negotiation.abort();
    socket.destroySoon();
    return exports;
  });
}

/** Connects, greets, and hands over for the rest of the negotiation, all within its time. What fails closes the connection. */
async function withConnection<T>(
  address: NbdAddress,
  { label, signal, negotiationSeconds = NEGOTIATION_SECONDS }: NbdOptions,
  work: (socket: Socket, reader: ByteReader, negotiation: Negotiation) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const onAbort = () => stop.abort(new ImgstoreError('INTERRUPTED', `${label}: stopped`, { uri: label }));
  const timer = setTimeout(
    () =>
      stop.abort(nbdFailure(label, `the server has not come to an agreement within ${negotiationSeconds} s`)),
    negotiationSeconds * 1000,
  );
  let socket: Socket | undefined;
  try {
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    socket = await connect(address, stop.signal);
    socket.once('close', () => signal?.removeEventListener('abort', onAbort));
    const reader = new ByteReader(socket);
    const negotiation = new Negotiation(socket, reader, label);
    await negotiation.greet();
    return await work(socket, reader, negotiation);
  } catch (error) {
    socket?.destroy();
    signal?.removeEventListener('abort', onAbort);
    throw asNbdFailure(error, label, 'during negotiation');
  } finally {
    clearTimeout(timer);
  }
}
