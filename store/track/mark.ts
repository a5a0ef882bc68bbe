import type { RawExtension } from '../../qcow2/index.ts';

/**
 * A header extension beside a bitmap by which a store keeps track of an image: random bytes, under which the bitmap's name is sealed. QEMU keeps it when it writes the header anew, and has none of it in another
 * image, into which bitmaps can be copied: `qemu-img convert --bitmaps -l` gives those of the present disk to a file that holds a snapshot.
 */
export const TYPE_TRACKING_MARK = 0x494d4754;

export const MARK_BYTES = 16;

/** The mark among a header's extensions; undefined when there is none, or none that is as it should be. */
export function trackingMark(extensions: readonly RawExtension[]): Uint8Array | undefined {
  const [mark, ...more] = extensions.filter(({ type }) => type === TYPE_TRACKING_MARK);
  return mark?.data.length === MARK_BYTES && more.length === 0 ? mark.data : undefined;
}
