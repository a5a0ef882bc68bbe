import { encodeHeader, type NewHeader } from '../meta/header-encode.ts';
import { type ImagePlan, l1EntriesFor } from './options.ts';
import { usage } from './usage.ts';

/** What of a header is known only when all else is written. */
export type HeaderPlaces = Pick<
  NewHeader,
  'l1Offset' | 'refcountTableOffset' | 'refcountTableClusters' | 'snapshots' | 'bitmaps'
>;

/** The header of a planned image with its extensions and the backing file's name. */
export function imageHeader(plan: ImagePlan, places: HeaderPlaces): Uint8Array {
  const late = plan.lateExtension(places);
  return encodeHeader({
    ...plan,
    extensions: late === undefined ? plan.extensions : [...plan.extensions, late],
    clusterBits: Math.log2(plan.clusterSize),
    l1Entries: l1EntriesFor(plan, plan.virtualSize),
    ...places,
  });
}

/** @throws ImgstoreError `USAGE` when the header does not fit the first cluster, which is known from the start. */
export function checkHeaderFits(plan: ImagePlan, withBitmaps: boolean): void {
  const bytes = imageHeader(plan, {
    l1Offset: 0,
    refcountTableOffset: 0,
    refcountTableClusters: 0,
    bitmaps: withBitmaps ? { count: 1, size: 0, offset: 0 } : undefined,
  }).length;
  if (bytes > plan.clusterSize) {
    throw usage(
      `a header of ${bytes} bytes, with the backing file's name and extensions, does not fit clusters of ${plan.clusterSize} bytes`,
    );
  }
}
