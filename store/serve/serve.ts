import { NbdServer, nbdUri, type ServerTls } from '../../nbd/index.ts';
import type { Store } from '../store.ts';
import type { VersionDisk } from '../version/version.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { defaultCacheBytes } from './cache-size.ts';
import { socketPath } from './export-uri.ts';
import { RevisionExports } from './revision-exports.ts';
import type { Writing } from './session/open-sessions.ts';

export interface ServeRequest {
  /** What alone is served; every revision when there is none. */
  readonly revisions: readonly string[];
  /** A unix socket; the store's own when neither this nor {@link listen} is given. */
  readonly socket?: string | undefined;
  /** A port of TCP. */
  readonly listen?: { readonly host: string; readonly port: number } | undefined;
  readonly tls?: ServerTls | undefined;
  /** Of clusters that were read; {@link defaultCacheBytes} when not given. */
  readonly cacheBytes?: number | undefined;
  /** Branches can be written to: what is written goes into overlays. */
  readonly writable?: boolean | undefined;
  /** The folder of overlays; `imgstore/sessions` in the store when not given. */
  readonly overlays?: string | undefined;
  /** Clients at a time. */
  readonly maxConnections?: number | undefined;
  readonly onNotice?: ((notice: string) => void) | undefined;
}

/** A server that runs. */
export interface ServedStore {
  /** Of the default export; the name of another goes behind the third slash. */
  readonly uri: string;
  /** Clients that are connected. */
  readonly connections: number;
  /** Fulfilled when somebody asks for the server's end at its control socket; undefined for a server that has none. */
  readonly stopped: Promise<void> | undefined;
  /** Lets what is under way end. */
  close(): Promise<void>;
}

/**
 * Serves versions over NBD.
 * @throws ImgstoreError `NOT_FOUND` for a revision that is not there, `IN_USE`, `EXISTS`, `USAGE`, `IO`
 */
export async function serveStore(store: Store, request: ServeRequest): Promise<ServedStore> {
  const { revisions, cacheBytes = defaultCacheBytes(), listen, tls, maxConnections, onNotice } = request;
  // Threads come up with the first cluster that is wanted.
  const workers = new ClusterWorkers(Number.POSITIVE_INFINITY);
  const exports = new RevisionExports(store, workers, { revisions, cacheBytes });
  const end = async () => {
    exports.close();
    await workers.close();
  };
  try {
    await exports.refuseMissing();
    const socket = socketPath(store, request.socket);
    const place = listen ?? { socket };
    const server = await NbdServer.listen(exports, { ...place, tls, maxConnections, onNotice });
    const writing = request.writable ? await openSessions(store, server, exports, request) : undefined;
    return {
      uri: nbdUri({ address: server.address, exportName: '' }, tls !== undefined),
      get connections() {
        return server.connections;
      },
      stopped: writing?.control.stopped,
      close: async () => {
        await writing?.control.close();
        await server.close();
        await writing?.sessions.close();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Lets branches be written to. @throws ImgstoreError `IN_USE`, `EXISTS`, `IO`; the server is closed then */
async function openSessions(
  store: Store,
  server: NbdServer,
  exports: RevisionExports,
  { socket, overlays, onNotice }: ServeRequest,
): Promise<Writing> {
  try {
    // A server that is started for one checkout is waited for, and has no need of what writes images.
    const { openSessions: open } = await import('./session/open-sessions.ts');
    const openBase = (disk: VersionDisk) => exports.diskOf(disk);
    const writing = await open(store, server, socketPath(store, socket), { overlays, openBase, onNotice });
    exports.serveSessions(writing.sessions);
    return writing;
  } catch (error) {
    await server.close();
    throw error;
  }
}
