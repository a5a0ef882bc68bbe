import { NbdServer, nbdUri, type ServerTls } from '../../nbd/index.ts';
import type { Store } from '../store.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { socketPath } from './export-uri.ts';
import { RevisionExports } from './revision-exports.ts';

export interface ServeRequest {
  /** What alone is served; every revision when there is none. */
  readonly revisions: readonly string[];
  /** A unix socket; the store's own when neither this nor {@link listen} is given. */
  readonly socket?: string | undefined;
  /** A port of TCP. */
  readonly listen?: { readonly host: string; readonly port: number } | undefined;
  readonly tls?: ServerTls | undefined;
  readonly cacheBytes: number;
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
  /** Lets what is under way end. */
  close(): Promise<void>;
}

/**
 * Serves versions over NBD.
 * @throws ImgstoreError `NOT_FOUND` for a revision that is not there, `IN_USE`, `EXISTS`, `USAGE`, `IO`
 */
export async function serveStore(store: Store, request: ServeRequest): Promise<ServedStore> {
  const { revisions, cacheBytes, listen, tls, maxConnections, onNotice } = request;
  // Threads come up with the first cluster that is wanted.
  const workers = new ClusterWorkers(Number.POSITIVE_INFINITY);
  const exports = new RevisionExports(store, workers, { revisions, cacheBytes });
  const end = async () => {
    exports.close();
    await workers.close();
  };
  try {
    await exports.refuseMissing();
    const place = listen ?? { socket: socketPath(store, request.socket) };
    const server = await NbdServer.listen(exports, { ...place, tls, maxConnections, onNotice });
    return {
      uri: nbdUri({ address: server.address, exportName: '' }, tls !== undefined),
      get connections() {
        return server.connections;
      },
      close: async () => {
        await server.close();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}
