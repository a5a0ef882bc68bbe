import type { ObjectId } from '../../objects/index.ts';
import type { Attachment } from '../commit/attachments.ts';
import { type CommitResult, type NamedDisk, refuseParent, storeVersion } from '../commit/store-version.ts';
import { branchTip } from '../history/tips.ts';
import type { Monitor as Watcher } from '../progress.ts';
import type { Store } from '../store.ts';
import type { NamedNode } from './find-disks.ts';
import type { ScratchPlace } from './scratch.ts';

/** How to make a version of a machine that runs, whoever it is asked for. */
export interface RunningCommitRequest {
  /** All that the guest can write to when none is named. */
  readonly nodes?: readonly NamedNode[] | undefined;
  /** Folder for scratch files; beside the first disk's image if not said. */
  readonly scratch?: string | undefined;
  readonly attachments?: readonly Attachment[] | undefined;
  readonly branch?: string | undefined;
  readonly message?: string | undefined;
  /** The version that a new branch starts from. */
  readonly parent?: string | undefined;
  /** Makes a version although nothing has changed. */
  readonly allowEmpty?: boolean | undefined;
  /** Folders from which backing files may come, besides the images' own. */
  readonly allowBacking?: readonly string[] | undefined;
}

/** How to hold disks. */
export interface MomentOptions extends ScratchPlace {
  /** Does what must be done at the very moment; the guest's file systems may be frozen around it. */
  readonly atOnce: (hold: () => Promise<void>) => Promise<void>;
  readonly onNotice: (notice: string) => void;
}

/** Disks of a machine, held as they were at one moment. */
export interface HeldMoment {
  /** What a failure comes from, where that is known better. */
  explain(error: unknown): unknown;
  /** Lets go of the disks. @param commit the version that they were at the moment; undefined when there is none */
  release(commit: ObjectId | undefined): Promise<void>;
}

/** How a version comes of what is held. */
export interface MomentSteps<Moment extends HeldMoment> {
  /** @param tip where the branch is; undefined for a new one */
  readonly hold: (tip: ObjectId | undefined) => Promise<Moment>;
  readonly open: (moment: Moment) => Promise<readonly NamedDisk[]>;
  /** What comes along; that of the request if not said. */
  readonly attach?: (moment: Moment) => Promise<readonly Attachment[]>;
}

/**
 * Stores what disks of a machine were at one moment, and lets go of them in any case.
 * @param request of which the branch is known by its full name, `ref`
 * @throws ImgstoreError what `storeVersion` and the steps throw
 */
export async function storeMoment<Moment extends HeldMoment>(
  store: Store,
  request: RunningCommitRequest & { readonly ref: string; readonly message: string },
  { hold, open, attach }: MomentSteps<Moment>,
  watcher: Watcher,
): Promise<Omit<CommitResult, 'seconds'>> {
  const { ref, parent } = request;
  const transaction = store.begin(watcher.newObjects);
  try {
    const tip = await branchTip(store, ref);
    await refuseParent(store, { ref, tip, parent });
    const moment = await hold(tip);
    let commit: ObjectId | undefined;
    try {
      const disks = await open(moment);
      const attachments = attach === undefined ? request.attachments : await attach(moment);
      const result = await storeVersion(store, { ...request, tip, attachments }, disks, transaction, watcher);
      commit = result.commit;
      return result;
    } catch (error) {
      throw await moment.explain(error);
    } finally {
      await moment.release(commit);
    }
  } finally {
    await transaction.discard();
  }
}
