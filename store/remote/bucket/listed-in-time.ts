import { ImgstoreError } from '../../../errors/index.ts';
import type { BucketRemote } from './bucket-remote.ts';
import type { UploadJournal } from './journal.ts';
import type { OutgoingPack } from './outgoing.ts';
import type { Uploads } from './uploads.ts';

/** Races for the next state that are lost before it is given up. */
const MOST_RACES = 50;

/**
 * The way to send packs for what may take days: what is listed by no state for two of them, a `gc` of another machine removes. So a state lists it sooner, before any ref leads there.
 * @throws ImgstoreError `REMOTE_…`, `BUSY`
 */
export function listedInTime(
  { bucket, states }: BucketRemote,
  uploads: Uploads,
  journal: UploadJournal,
): (pack: OutgoingPack) => Promise<void> {
  return async (pack) => {
    await uploads.add(pack);
    if (!journal.isAging) return;
    await uploads.finish();
    journal.dropOld();
    for (let races = 0; races < MOST_RACES; races++) {
      const newest = await states.newest();
      const added = journal.packs.filter((row) => !newest.content.packs.has(row.pack));
      const next = await states.publish(newest, { refs: [], added, buried: [], gone: [] });
      if (next === undefined) continue;
      await journal.clear();
      return;
    }
    throw new ImgstoreError('BUSY', `${bucket.where}: others push all the time: push again later`, {});
  };
}
