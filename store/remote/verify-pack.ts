import { setImmediate as breathe } from 'node:timers/promises';
import { ImgstoreError } from '../../errors/index.ts';
import { type Pack, PackOrder } from '../../pack/index.ts';
import { orderedMap } from '../ordered-map.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { packedToVerify, verifyBatches } from '../workers/verify-batches.ts';

/** Heads that are read between two chances for others to run. */
const HEADS_A_TURN = 1024;

/**
 * Reads objects of a pack that has come from elsewhere, and checks each against its id, its CRC, and git's rules for its type.
 * @param isAsked by position in the pack's index; all when not given, and then also the pack's own checksum
 * @returns how many objects were checked
 * @throws ImgstoreError `DAMAGED` naming the pack and what is wrong with the first object that is not right, `INTERRUPTED`
 */
export async function verifyPack(
  pack: Pack,
  workers: ClusterWorkers,
  monitor: Monitor,
  isAsked?: (position: number) => boolean,
): Promise<number> {
  let checked = 0;
  const verify = (items: readonly ReturnType<typeof packedToVerify>[]) =>
    workers.verify(items.map(({ item }) => item));
  const batches = verifyBatches(entriesOf(pack, isAsked));
  for await (const { objects, faults } of orderedMap(batches, 2 * workers.threads + 1, verify)) {
    throwIfStopped(monitor);
    const [fault] = faults;
    if (fault !== undefined) throw damaged(pack, fault.reason);
    checked += objects.length;
  }
  if (isAsked === undefined) {
    const trailer = Buffer.alloc(32);
    pack.readInto(trailer, pack.entriesEnd);
    if ((await workers.checksum(pack.path)) !== trailer.toString('hex'))
      throw damaged(pack, 'its checksum does not fit its bytes');
  }
  return checked;
}

async function* entriesOf(pack: Pack, isAsked: ((position: number) => boolean) | undefined) {
  const order = new PackOrder(pack);
  for (const [i, position] of order.positions.entries()) {
    if (i % HEADS_A_TURN === HEADS_A_TURN - 1) await breathe();
    if (isAsked === undefined || isAsked(position)) yield packedToVerify(pack, order, i);
  }
}

function damaged({ path }: Pack, reason: string): ImgstoreError {
  return new ImgstoreError('DAMAGED', `${path}: ${reason}`, { path });
}
