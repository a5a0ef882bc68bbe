import type { LooseObjects, ObjectId } from '../../objects/index.ts';

/** Objects that a store counts as its own while they are still elsewhere (git: promisor objects): those of a lazy clone. */
export interface PromisedObjects {
  /** Where copies of those that were read are. */
  readonly copies: LooseObjects;
  /** Whether an object is promised. */
  has(id: ObjectId): boolean;
  /** Sees to it that there are copies of promised objects. @throws ImgstoreError `REMOTE_…`, `NOT_FOUND`, `DAMAGED`, `IO`. */
  bring(ids: readonly ObjectId[]): Promise<void>;
  /** As {@link PromisedObjects.bring}, in the place of copies that are damaged. */
  bringAgain(ids: readonly ObjectId[]): Promise<void>;
  /** Takes up what a fetch has noted of what the remote has. @throws ImgstoreError `REMOTE_…`, `IO`. */
  renew(): Promise<void>;
  close(): Promise<void>;
}
