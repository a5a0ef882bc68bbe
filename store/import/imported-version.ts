import type { ObjectId } from '../../objects/index.ts';

/** A state of an image, and the version that it is. */
export interface ImportedVersion {
  readonly commit: ObjectId;
  /** Short name. */
  readonly branch: string;
  /** Short name; undefined for what is no snapshot. */
  readonly tag: string | undefined;
  readonly source: {
    /** Real path. */
    readonly file: string;
    /** Name of the internal snapshot. */
    readonly snapshot: string | undefined;
    /** Bytes of the VM's saved state, which is not stored. */
    readonly vmStateSize: number;
  };
  /** Bytes. */
  readonly virtualSize: number;
  /** Clusters that hold data. */
  readonly clusters: number;
  readonly newClusters: number;
  /** Bytes read from the image. */
  readonly readBytes: number;
  readonly newObjects: number;
  /** Bytes that they take on disk. */
  readonly storedBytes: number;
  /** True when the store had this version. */
  readonly unchanged: boolean;
}
