import type { SectorCipher } from './sector-cipher.ts';

/** How the data clusters of one image are encrypted. */
export interface DiskCipher {
  readonly sectors: SectorCipher;
  /** Which offset numbers a sector for its initialization vector: that in the file, or that on the guest's disk. */
  readonly numbering: 'host' | 'guest';
}
