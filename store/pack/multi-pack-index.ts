import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { MIDX_FILE, type Pack, removeMidx, writeMidx } from '../../pack/index.ts';
import type { Store } from '../store.ts';

/**
 * The multi-pack-index is left as it is while the objects that it does not cover are fewer than this part of all: writing it costs a read of all
 * indexes, and so comes to a constant for each new object, as packing does.
 */
const MOST_UNCOVERED = 1 / 8;

/**
 * Brings the store's multi-pack-index up to date. To be called when new packs are visible and before old ones are removed, so that it never names a
 * pack that is gone: whoever is killed in between leaves an index over packs that are there.
 * @param gone packs that are about to be removed
 * @throws ImgstoreError `BUSY` when another process writes the multi-pack-index, `DAMAGED` when an index cannot be read, `IO`
 */
export async function refreshMultiPackIndex(store: Store, gone: readonly Pack[]): Promise<void> {
  const { packs } = store.objects;
  packs.refresh();
  const goneStems = new Set(gone.map(({ stem }) => stem));
  // What is in packs of unreachable objects is looked up too seldom, and not at all for what is stored.
  const remaining = packs.packs().filter((pack) => !goneStems.has(pack.stem) && !packs.isCruft(pack));
  const isThere = existsSync(join(packs.folder, MIDX_FILE));
  if (remaining.length < 2 && isThere) await removeMidx(packs.folder, store.rules);
  if (remaining.length >= 2 && !coversEnough(packs.covered(), remaining))
    await writeMidx(packs.folder, remaining, store.rules);
  packs.refresh();
}

function coversEnough(covered: readonly string[], remaining: readonly Pack[]): boolean {
  const stems = new Set(remaining.map(({ stem }) => stem));
  // A pack that is damaged is not among them either: of what is in it, other packs may have copies.
  if (covered.length === 0 || covered.some((stem) => !stems.has(stem))) return false;
  const inIndex = new Set(covered);
  const uncovered = remaining.filter(({ stem }) => !inIndex.has(stem));
  return objectsIn(uncovered) < objectsIn(remaining) * MOST_UNCOVERED;
}

function objectsIn(packs: readonly Pack[]): number {
  return packs.reduce((sum, { idx }) => sum + idx.count, 0);
}
