import type { ImageFile } from '../live/image-file.ts';
import type { TrustedCheckpoint } from './checkpoints.ts';
import type { ChosenDisk } from './choose-disks.ts';

/** A disk whose bytes of one moment are to be read. */
export interface HeldDisk extends ChosenDisk {
  readonly image: ImageFile;
  /** Which tells what must be read; undefined if nothing does. */
  readonly since: TrustedCheckpoint | undefined;
}
