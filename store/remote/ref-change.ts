import type { ObjectId } from '../../objects/index.ts';

/** What a push or fetch did with a ref. `forward` adds versions to it, `forced` takes some away. */
export type ChangeKind = 'new' | 'forward' | 'forced' | 'deleted' | 'unchanged' | 'rejected';

/** A ref that was to be moved. */
export interface RefChange {
  /** Full name: on the remote for a push, in the store for a fetch. */
  readonly ref: string;
  /** Where it was; undefined when it was not there. */
  readonly from: ObjectId | undefined;
  /** Where it is now, or was to go; undefined for a removal. */
  readonly to: ObjectId | undefined;
  readonly kind: ChangeKind;
  /** Why it was rejected, and what to do. */
  readonly reason?: string;
}
