import type { RawFile } from '../../../block/index.ts';
import { badForeign, unsupportedForeign } from '../fault.ts';
import { readUpTo } from '../read-head.ts';

/** The footer, and its copy at the start of a dynamic disk ("Virtual Hard Disk Image Format Specification", "Hard Disk Footer Format"). */
const FOOTER_BYTES = 512;
const COOKIE = 'conectix';
const TYPE_AT = 60;
const DIFFERENCING = 4;

/** Refuses what QEMU would read with holes in the places of a parent's data. @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE` */
export async function checkVhd(file: RawFile, path: string): Promise<void> {
  const ends = [
    await readUpTo(file, 0, FOOTER_BYTES),
    await readUpTo(file, Math.max(0, file.size - FOOTER_BYTES), FOOTER_BYTES),
  ];
  const footers = ends.filter(
    (end) => end.length === FOOTER_BYTES && end.toString('latin1', 0, 8) === COOKIE,
  );
  if (footers.length === 0) throw badForeign(path, 'is no VHD: it has no footer');
  if (footers.every((footer) => footer.readUInt32BE(TYPE_AT) !== DIFFERENCING)) return;
  throw unsupportedForeign(
    path,
    'is a differencing VHD, which holds only the changes to another: merge them in Hyper-V first',
  );
}
