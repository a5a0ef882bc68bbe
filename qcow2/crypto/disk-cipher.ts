import type { SectorCipher } from './sector-cipher.ts';

/** How the data clusters of one image are encrypted. */
export interface DiskCipher {
  readonly sectors: SectorCipher;
  /** What is added to a sector's number for its initialization vector. */
  readonly firstSector: number;
  /** Which offset numbers a sector for its initialization vector: that in the file, or that on the guest's disk. */
  readonly numbering: 'host' | 'guest';
}
