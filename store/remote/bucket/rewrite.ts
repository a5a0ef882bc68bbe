import { rm } from 'node:fs/promises';
import { Pack } from '../../../pack/index.ts';
import type { PackKind, RemotePack } from '../../../remote/index.ts';
import type { Monitor } from '../../progress.ts';
import type { ClusterWorkers } from '../../workers/pool.ts';
import type { BucketRemote } from './bucket-remote.ts';
import type { Incoming } from './incoming.ts';
import { OutgoingSeries, type SendPack } from './outgoing.ts';
import type { RemoteMarks } from './remote-marks.ts';

interface RewriteTools {
  readonly incoming: Incoming;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
  readonly send: SendPack;
}

/**
 * Writes what is marked of some of a bucket's packs into new ones, which are sent. Each of the old ones is fetched whole, checked, and goes from this machine when it was copied.
 * @throws ImgstoreError `DAMAGED`, `REMOTE_…`, `INTERRUPTED`, `IO`
 */
export async function rewritePacks(
  remote: BucketRemote,
  rows: readonly RemotePack[],
  live: RemoteMarks,
  { incoming, monitor, send }: RewriteTools,
): Promise<void> {
  const { store, place, indexes } = remote;
  const positionsOf = new Map([...live.packed()].map(({ pack, positions }) => [pack.pack, positions]));
  await rm(place.outgoing, { recursive: true, force: true });
  for (const kind of ['data', 'maps'] satisfies PackKind[]) {
    const series = await OutgoingSeries.begin(store, kind, place.outgoing, send);
    try {
      for (const row of rows.filter((each) => each.kind === kind)) {
        const positions = positionsOf.get(row.pack);
        if (positions === undefined) continue;
        await incoming.fetch(row);
        const { idx, file } = indexes.of(row);
        const pack = new Pack(incoming.stem(row), { idx, file: { size: file.size, close: () => {} } });
        try {
          await series.copy(pack, positions, monitor);
        } finally {
          pack.close();
        }
        if (kind === 'data') await incoming.drop(row);
      }
      await series.finish();
    } finally {
      await series.discard();
    }
  }
}
