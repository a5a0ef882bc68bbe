import type { Monitor } from '../../progress.ts';
import { resolveCommit } from '../../revision/resolve.ts';
import { ensureServer, type ServerProgram } from '../../serve/ensure-server.ts';
import { exportNameOf, exportUri, socketPath } from '../../serve/export-uri.ts';
import { requireExport } from '../../serve/require-export.ts';
import type { Store } from '../../store.ts';
import { refuseBeyondEnd } from '../../version/map-errors.ts';
import { findDisk, readVersion } from '../../version/version.ts';
import { ClusterWorkers } from '../../workers/pool.ts';
import { type CheckoutResult, defaultOutput } from '../checkout.ts';
import type { CheckoutJob, ImageCluster } from '../job.ts';
import { refuseTaken } from '../output-file.ts';
import { Outputs } from '../outputs.ts';
import { refuseInStore } from '../refuse-output.ts';
import { writeQcow2 } from '../write-qcow2.ts';

export interface LazyCheckoutRequest {
  readonly revision: string;
  /** The file to make; named after the revision in the working directory when not given. */
  readonly output?: string | undefined;
  /** Of a version with several disks. */
  readonly disk?: string | undefined;
  /** Replaces a file that is in the way. */
  readonly force?: boolean | undefined;
  /** Where the server listens that shows the version; the store's own socket when not given. */
  readonly socket?: string | undefined;
  /** For a server if none listens there; undefined: none is looked for, and none started. */
  readonly server?: ServerProgram | undefined;
}

/**
 * Writes an overlay whose backing file is a server's export of a version's disk: it takes as long for a disk of any size. The header names the version, so that nobody needs the server to tell it.
 * @throws ImgstoreError `NOT_FOUND`, `EXISTS`, `USAGE`, `NBD`, `DAMAGED`, `IO`
 */
export async function checkoutLazily(
  store: Store,
  request: LazyCheckoutRequest,
  monitor: Monitor = {},
): Promise<CheckoutResult> {
  const started = performance.now();
  const commit = await resolveCommit(store, request.revision);
  const version = readVersion(store.objects, commit);
  const disk = findDisk(version, request.disk);
  const socket = socketPath(store, request.socket);
  const exportName = exportNameOf(version, disk);
  const uri = exportUri(socket, exportName);
  const several = version.disks.length > 1 ? disk.name : undefined;
  const path = request.output ?? (await defaultOutput(store, request.revision, several, 'qcow2'));
  const { force = false, server } = request;
  await refuseInStore(path, store.folder);
  await refuseTaken(path, force);
  await refuseBeyondEnd(store.objects, disk);

  const workers = new ClusterWorkers(disk.clusterSize);
  const outputs = new Outputs();
  const rest = { readOnly: false, compress: undefined, allowBacking: [], damage: undefined };
  // Its clusters are not counted: for that all of the map would be read.
  const job: CheckoutJob = {
    store,
    commit,
    disk,
    clusters: 1,
    path,
    force,
    outputs,
    workers,
    monitor,
    ...rest,
  };
  // Which version it holds is for its header alone to say: the stat cache knows files by all that they stand on.
  const plan = { path, force, readOnly: false, onPublished: async () => {} };
  const backing = { file: uri, format: 'raw', holds: { commit, disk: disk.name } } as const;
  try {
    // A server takes longer to start than the file to write.
    const [served, written] = await Promise.allSettled([
      server === undefined
        ? undefined
        : ensureServer(store, socket, server, monitor).then(() => requireExport(socket, exportName, disk)),
      outputs.write(plan, (file) => writeQcow2(job, file, nothing(), backing)),
    ]);
    for (const outcome of [served, written]) if (outcome.status === 'rejected') throw outcome.reason;
    await outputs.publish();
    return {
      file: path,
      format: 'qcow2',
      virtualSize: disk.virtualSize,
      writtenBytes: (written as PromiseFulfilledResult<number>).value,
      backing: uri,
      seconds: (performance.now() - started) / 1000,
    };
  } finally {
    await outputs.discard();
    await workers.close();
  }
}

/** What an overlay holds that differs in nothing from what it stands on. */
async function* nothing(): AsyncGenerator<ImageCluster> {}
