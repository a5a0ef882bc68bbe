import type { GitObject, LooseObjects, ObjectId } from '../../objects/index.ts';

/** Objects that a store counts as its own while they are still elsewhere (git: promisor objects): those of a lazy clone. */
export interface PromisedObjects {
  /** Where copies of those that were read are. */
  readonly copies: LooseObjects;
  /** Whether an object is promised. */
  has(id: ObjectId): boolean;
  /** An object that is in memory: see {@link PromisedObjects.hold}. */
  held(id: ObjectId): GitObject | undefined;
  /** Sees to it that there are copies of promised objects, or that they are in memory; others are passed over. @throws ImgstoreError `REMOTE_…`, `NOT_FOUND`, `DAMAGED`, `IO`. */
  bring(ids: readonly ObjectId[]): Promise<void>;
  /** Takes promised objects into memory, checked, where copies of them have gone or are damaged: until some more have come. */
  hold(ids: readonly ObjectId[]): Promise<void>;
  /** Takes up what a fetch has noted of what the remote has. @throws ImgstoreError `REMOTE_…`, `IO`. */
  renew(): Promise<void>;
  close(): Promise<void>;
}
