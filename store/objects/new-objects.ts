import type { PackableObject } from '../../pack/index.ts';

/** What an object is for: a cluster of a disk, or a part of what leads to clusters. */
export type ContentKind = 'data' | 'maps';

/** Who is shown the objects that a store gains, as they come. */
export interface NewObjects {
  /** An object that the store did not have. Its bytes may be other ones afterwards. Must be quick. */
  take(object: PackableObject, kind: ContentKind): void;
  /** No more will come. */
  end(): void;
}
