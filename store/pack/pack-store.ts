import { join } from 'node:path';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { refuseHeldMidx } from '../../pack/index.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { changePacks, checksumOf, type PackChange } from './change-packs.ts';
import { gatherObjects } from './gather.ts';
import { refreshMultiPackIndex } from './multi-pack-index.ts';
import { type PackPlan, planPack } from './plan.ts';
import { removeLoose, removePacks } from './remove-packed.ts';
import { sequenceObjects } from './sequence.ts';
import type { SketchIndex } from './sketch-index.ts';
import { writePack } from './write-pack.ts';

export interface PackRequest {
  /** Packs everything anew: looks for bases for every object, and deflates at the strongest level. */
  readonly aggressive?: boolean | undefined;
}

export interface PackResult extends PackChange {
  /** Objects that were put into the new pack; 0 when there was nothing to do. */
  readonly objects: number;
  /** Those of them that are deltas. */
  readonly deltas: number;
}

/**
 * Gathers loose objects and small packs into a larger one, with deltas. Nothing is removed before the new pack is durable and visible, so a kill at any
 * time leaves every object readable.
 * @throws ImgstoreError `BUSY` when another process packs this store, `DAMAGED` when an object cannot be read, `INTERRUPTED`, `IO`
 */
export async function packStore(
  store: Store,
  request: PackRequest = {},
  monitor: Monitor = {},
): Promise<PackResult> {
  const aggressive = request.aggressive ?? false;
  const { made, change } = await changePacks(store, (index) => packRounds(store, index, aggressive, monitor));
  const { packs, ...rest } = change;
  return { packs, ...made, ...rest };
}

/** Rounds of bounded size, until nothing is left to gather; aggressive packing is one round, of everything. */
async function packRounds(
  store: Store,
  index: SketchIndex,
  aggressive: boolean,
  monitor: Monitor,
): Promise<{ readonly objects: number; readonly deltas: number }> {
  let objects = 0;
  let deltas = 0;
  for (;;) {
    const plan = planPack(store, (pack) => index.knowsPack(checksumOf(pack)), { aggressive });
    if (plan === undefined) return { objects, deltas };
    const made = await packPlan(store, plan, index, aggressive, monitor);
    objects += made.objects;
    deltas += made.deltas;
    if (aggressive) return { objects, deltas };
  }
}

async function packPlan(
  store: Store,
  plan: PackPlan,
  index: SketchIndex,
  aggressive: boolean,
  monitor: Monitor,
): Promise<{ readonly objects: number; readonly deltas: number }> {
  // A lock that a kill has left must show before a pack is written, which would stay beside those that it replaces, run after run.
  await refuseHeldMidx(store.objects.packs.folder, store.rules);
  try {
    return await packGathered(store, plan, index, aggressive, monitor);
  } catch (error) {
    if (plan.body === undefined || !isImgstoreError(error, 'DAMAGED')) throw error;
    // The body is copied as it is; object by object, whole copies stand in for what is damaged.
    const sources = [...plan.sources, plan.body];
    return packGathered(store, { ...plan, body: undefined, sources }, index, aggressive, monitor);
  }
}

async function packGathered(
  store: Store,
  plan: PackPlan,
  index: SketchIndex,
  aggressive: boolean,
  monitor: Monitor,
): Promise<{ readonly objects: number; readonly deltas: number }> {
  const table = gatherObjects(store.objects, plan, { keepDeltas: !aggressive });
  const sequence = await sequenceObjects(store, table);
  const workers = new ClusterWorkers(table.size.reduce((sum, size) => sum + size, 0));
  try {
    const level = aggressive ? store.aggressiveCompression : store.packCompression;
    const options = { workers, index, level, mostDepth: store.packDepth, monitor };
    const { pending, objects, deltas } = await writePack(store, plan, table, sequence, options);
    try {
      await pending.publish();
    } catch (error) {
      await pending.discard();
      throw error;
    }
    const old = [...plan.sources, ...(plan.body === undefined ? [] : [plan.body])].filter(
      (pack) => checksumOf(pack) !== pending.checksum,
    );
    await refreshMultiPackIndex(store, old);
    requireVisible(store, pending.checksum);
    await index.replacePacks([pending.checksum], old.map(checksumOf));
    await removePacks(store, old);
    await removeLoose(
      store,
      plan.loose.filter((id) => store.objects.packs.has(id)),
    );
    store.objects.packs.refresh();
    return { objects, deltas };
  } finally {
    await workers.close();
  }
}

/** Nothing may be removed for the sake of a pack that cannot be read. @throws ImgstoreError `DAMAGED`. */
function requireVisible(store: Store, checksum: string): void {
  const { packs } = store.objects;
  if (packs.packs().some((pack) => checksumOf(pack) === checksum)) return;
  const path = join(packs.folder, `pack-${checksum}.pack`);
  throw new ImgstoreError(
    'DAMAGED',
    `${path}: the new pack cannot be opened: the old ones stay; check the disk, and pack again`,
    { path },
  );
}
