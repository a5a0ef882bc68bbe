import type { BucketRemote } from './bucket-remote.ts';
import type { UploadJournal } from './journal.ts';
import type { OutgoingPack } from './outgoing.ts';
import { publishOnNewest } from './publish-on-newest.ts';
import type { Uploads } from './uploads.ts';

/**
 * The way to send packs for what may take days: what is listed by no state for two of them, a `gc` of another machine removes. So a state lists it sooner, before any ref leads there.
 * @throws ImgstoreError `REMOTE_…`, `BUSY`
 */
export function listedInTime(
  remote: BucketRemote,
  uploads: Uploads,
  journal: UploadJournal,
): (pack: OutgoingPack) => Promise<void> {
  return async (pack) => {
    await uploads.add(pack);
    if (!journal.isAging) return;
    await uploads.finish();
    journal.dropOld();
    await publishOnNewest(remote, journal, { advice: 'push again later' }, ({ content }) => ({
      added: journal.packs.filter(({ pack }) => !content.packs.has(pack)),
    }));
  };
}
