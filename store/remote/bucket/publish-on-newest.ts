import { ImgstoreError } from '../../../errors/index.ts';
import type { RemoteChange, RemoteSnapshot } from '../../../remote/index.ts';
import type { BucketRemote } from './bucket-remote.ts';
import type { UploadJournal } from './journal.ts';

/** Races for the next state that are lost before it is given up: each time somebody else has won, so this takes a crowd. */
const MOST_RACES = 50;

/** What is to come of the newest state: a change, no change (`leave`), or a look at what is the newest by then. */
export type NextStep = Partial<RemoteChange> | 'leave' | 'look again';

export interface PublishOptions {
  /** A state that was the newest a moment ago, with which to begin. */
  readonly seen?: RemoteSnapshot | undefined;
  /** After so many lost races it is given up. */
  readonly mostRaces?: number;
  /** What to do then, for the error. */
  readonly advice: string;
}

/**
 * Makes the state that follows the newest one, which then lists what the journal has. When somebody else has made it meanwhile, decides again on what there is now.
 * @param plan decides on a state; called anew for each race
 * @returns the newest state now
 * @throws ImgstoreError `REMOTE_…`, `BUSY` when others win all the time, and what `plan` throws
 */
export async function publishOnNewest(
  { bucket, states }: Pick<BucketRemote, 'bucket' | 'states'>,
  journal: UploadJournal,
  { seen, mostRaces = MOST_RACES, advice }: PublishOptions,
  plan: (newest: RemoteSnapshot) => NextStep | Promise<NextStep>,
): Promise<RemoteSnapshot> {
  for (let races = 0; races < mostRaces; races++) {
    const newest = (races === 0 ? seen : undefined) ?? (await states.newest());
    const step = await plan(newest);
    if (step === 'leave') return newest;
    const next = step === 'look again' ? undefined : await states.publish(newest, step);
    if (next === undefined) continue;
    await journal.clear();
    return next;
  }
  throw new ImgstoreError(
    'BUSY',
    `${bucket.where}: others have pushed ${mostRaces} times meanwhile: ${advice}`,
    { where: bucket.where },
  );
}
