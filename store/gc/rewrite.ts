import { PackWriter, type PendingPack } from '../../pack/index.ts';
import { ObjectMarks } from '../objects/marks.ts';
import { copyEntries } from '../pack/copy-entries.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { type PackFate, STAYS, WAITS } from './plan.ts';

/** A pack that was written, and is not visible yet. */
export interface RewrittenPack {
  readonly pending: PendingPack;
  readonly isCruft: boolean;
}

/**
 * Writes what stays of each pack into a pack of its own, and what waits of all of them into a cruft pack. Nothing is visible yet.
 * @throws ImgstoreError `DAMAGED` when an entry cannot be read, `INTERRUPTED`, `IO`; nothing is left behind then
 */
export async function rewritePacks(
  store: Store,
  plan: readonly PackFate[],
  monitor: Monitor,
): Promise<readonly RewrittenPack[]> {
  const made: RewrittenPack[] = [];
  const total = plan.reduce((sum, { pack }) => sum + pack.fileBytes, 0);
  let done = 0;
  try {
    for (const fate of plan) {
      const stays = await writeStaying(store, fate, monitor);
      if (stays !== undefined) made.push({ pending: stays, isCruft: false });
      done += fate.pack.fileBytes;
      monitor.onProgress?.({ done, total });
    }
    const cruft = await writeCruft(store, plan, monitor);
    if (cruft !== undefined) made.push({ pending: cruft, isCruft: true });
    return made;
  } catch (error) {
    for (const { pending } of made) await pending.discard();
    throw error;
  }
}

async function writeStaying(
  store: Store,
  fate: PackFate,
  monitor: Monitor,
): Promise<PendingPack | undefined> {
  const { pack, fates, counts } = fate;
  if (counts[STAYS] === 0) return undefined;
  return writePack(store, async (writer) => {
    await copyEntries(
      pack,
      (position) => fates[position] === STAYS,
      () => writer,
      store.packCompression,
      monitor,
    );
    return undefined;
  });
}

/** Of an object that is in several packs the time of the first counts: ordinary packs come first, and were used last. */
async function writeCruft(
  store: Store,
  plan: readonly PackFate[],
  monitor: Monitor,
): Promise<PendingPack | undefined> {
  if (plan.every(({ counts }) => counts[WAITS] === 0)) return undefined;
  const taken = new ObjectMarks(store.objects);
  const seconds: number[] = [];
  return writePack(store, async (writer) => {
    for (const { pack, fates, usedSeconds } of plan) {
      const isTaken = (position: number) => fates[position] === WAITS && taken.mark(pack.idx.id(position));
      const copied = await copyEntries(pack, isTaken, () => writer, store.packCompression, monitor);
      for (const position of copied) seconds.push(usedSeconds(position));
    }
    return seconds;
  });
}

async function writePack(
  store: Store,
  fill: (writer: PackWriter) => Promise<readonly number[] | undefined>,
): Promise<PendingPack> {
  const writer = await PackWriter.create(store.objects.packs.folder, store.rules);
  try {
    return await writer.finish(await fill(writer));
  } catch (error) {
    await writer.discard();
    throw error;
  }
}
