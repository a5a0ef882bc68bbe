import type { NbdSource } from '../../nbd/index.ts';
import type { OpenDisk } from '../commit/disk.ts';
import { type KnownDisk, knownByBitmap } from '../commit/known-disk.ts';
import { dirtyRanges } from '../commit/nbd-bitmap.ts';
import { exportedDisk } from '../commit/open-nbd-disk.ts';
import type { Store } from '../store.ts';
import { dirtyDisk, type TrustedBitmap } from '../track/dirty.ts';
import type { SourceFacts } from '../version/image-json.ts';

/** A disk of a running machine, which QEMU's NBD server shows as it was at one moment. */
export function openLiveDisk(
  path: string,
  source: NbdSource,
  facts: SourceFacts,
  refuseChanged: () => Promise<void>,
): OpenDisk {
  return { ...exportedDisk(path, source), facts, refuseChanged };
}

/**
 * What of such a disk needs not be read.
 * @param bitmap the metadata context of one that has all that was written since the disk held a version; undefined when there is none
 * @param onDoubt called with the reason why it is not to be trusted after all
 */
export async function knownLive(
  store: Store,
  source: NbdSource,
  bitmap: { readonly name: string; readonly trusted: Omit<TrustedBitmap<unknown>, 'bitmap'> } | undefined,
  onDoubt: (doubt: string) => void,
): Promise<KnownDisk> {
  const nothing = { held: undefined, basis: undefined, baseVersion: undefined, expectedBytes: source.size };
  if (bitmap === undefined) return nothing;
  const { name, trusted } = bitmap;
  const dirty = source.contexts.includes(name)
    ? await dirtyDisk(store, source, trusted, dirtyRanges(source, name))
    : 'QEMU does not tell what it has';
  if (typeof dirty === 'string') {
    onDoubt(dirty);
    return nothing;
  }
  return knownByBitmap(dirty, source.size);
}
