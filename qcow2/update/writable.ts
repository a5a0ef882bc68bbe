import type { BlockSource, InPlaceFile } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import { checkSource } from '../check/check.ts';
import { badImage, unsupported } from '../meta/fault.ts';
import { AUTOCLEAR_BITMAPS, AUTOCLEAR_DATA_FILE_RAW } from '../meta/features.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { AUTOCLEAR_AT } from '../meta/layout.ts';
import { readBitmaps } from '../reader/bitmaps.ts';

/**
 * Refuses an image that {@link ImageUpdate} cannot change without harm. All of its metadata is read: a damaged image could have what is in use counted as free.
 * @param host the image's file. @param image its name, for errors
 * @returns the number of leaked clusters
 * @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE`
 */
export async function refuseUnwritable(
  host: BlockSource,
  header: Qcow2Header,
  image: string,
): Promise<number> {
  if (header.encryption !== undefined)
    throw unsupported(
      image,
      'is encrypted, and imgstore writes no encrypted images: check out to a new file',
    );
  if (header.dataFile !== undefined)
    throw unsupported(
      image,
      'keeps its data in an external data file, which imgstore does not write: check out to a new file',
    );
  if (header.corrupt || header.dirty) {
    const mark = header.corrupt ? 'corrupt' : 'not closed properly';
    throw badImage(image, `is marked as ${mark}: run qemu-img check -r all on it first`);
  }
  const kept = (await readBitmaps(host, header, image)).find(
    ({ auto, inUse, flaw }) => auto && !inUse && flaw !== 'inconsistent',
  );
  if (kept !== undefined) {
    throw unsupported(
      image,
      `has the dirty bitmap ${JSON.stringify(kept.name)}, in which the changes would be missing: remove it with qemu-img bitmap --remove`,
      { bitmap: kept.name },
    );
  }
  const { verdict, leaks, findings } = await checkSource(host, image);
  if (verdict === 'corrupt' || verdict === 'failed') {
    throw new ImgstoreError(
      'BAD_IMAGE',
      `${image}: is damaged (${findings[0]?.message ?? 'see imgstore check'}): run qemu-img check -r all on it first`,
      { path: image },
    );
  }
  return leaks;
}

/** Takes back the bits by which a newer QEMU says that something in the image is up to date that is not known here. */
export function clearUnknownAutoclear(file: InPlaceFile, { version }: Qcow2Header): void {
  if (version === 2) return;
  const field = Buffer.alloc(8);
  file.read(AUTOCLEAR_AT, field);
  const bits = field.readBigUInt64BE();
  const known = bits & (AUTOCLEAR_BITMAPS | AUTOCLEAR_DATA_FILE_RAW);
  if (known === bits) return;
  field.writeBigUInt64BE(known);
  file.write(AUTOCLEAR_AT, field);
}
