import type { RawFile } from '../../../block/index.ts';
import { badForeign, unsupportedForeign } from '../fault.ts';
import { readUpTo } from '../read-head.ts';

/** Header of a QED (docs/interop/qed_spec of QEMU). */
const HEADER_BYTES = 64;
const FEATURES_AT = 16;
const BACKING_NAME_LENGTH_AT = 60;
const HAS_BACKING_FILE = 1n;

/** @throws ImgstoreError `UNSUPPORTED` for an overlay: QEMU would follow the name and guess the format. `BAD_IMAGE` */
export async function checkQed(file: RawFile, path: string): Promise<void> {
  const header = await readUpTo(file, 0, HEADER_BYTES);
  if (header.length < HEADER_BYTES) throw badForeign(path, 'is too short for a QED');
  const isOverlay = (header.readBigUInt64LE(FEATURES_AT) & HAS_BACKING_FILE) !== 0n;
  if (!isOverlay && header.readUInt32LE(BACKING_NAME_LENGTH_AT) === 0) return;
  throw unsupportedForeign(
    path,
    'is a QED with a backing file: make one image of both with qemu-img convert -f qed -O qcow2',
  );
}
