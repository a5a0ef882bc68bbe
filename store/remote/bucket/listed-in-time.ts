import type { Monitor } from '../../progress.ts';
import type { BucketRemote } from './bucket-remote.ts';
import type { UploadJournal } from './journal.ts';
import type { SendPack } from './outgoing.ts';
import { publishOnNewest } from './publish-on-newest.ts';
import { Uploads } from './uploads.ts';

/**
 * Has packs written, and sends them beside, each listed in time.
 * @returns how many objects were sent
 * @throws ImgstoreError `REMOTE_…`, `BUSY`, `INTERRUPTED`, and what writing throws
 */
export async function sendInTime(
  remote: BucketRemote,
  journal: UploadJournal,
  write: (send: SendPack) => Promise<void>,
  monitor: Monitor,
): Promise<number> {
  const uploads = new Uploads(remote.bucket, remote.indexes, journal, monitor);
  try {
    await write(listedInTime(remote, uploads, journal));
  } finally {
    await uploads.finish();
  }
  return uploads.objects;
}

/**
 * The way to send packs for what may take days: what is listed by no state for two of them, a `gc` of another machine removes. So a state lists it sooner, before any ref leads there.
 * @throws ImgstoreError `REMOTE_…`, `BUSY`
 */
export function listedInTime(remote: BucketRemote, uploads: Uploads, journal: UploadJournal): SendPack {
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
