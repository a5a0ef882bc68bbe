import type { Pack, ScannedPack } from '../../pack/index.ts';

/** A pack that is read by its index, or, where that is damaged, by one that was made anew in memory. */
export interface PackSource {
  /** Path without ending. */
  readonly stem: string;
  readonly pack: Pack;
  /** What the pack holds by its own bytes; undefined when its index is whole. */
  readonly scanned: ScannedPack | undefined;
  /** SHA-256 of its entries is known to be, or not to be, what its end says; undefined when that was not looked at yet. */
  readonly fits: boolean | undefined;
}
