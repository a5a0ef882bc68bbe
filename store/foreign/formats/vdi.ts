import type { RawFile } from '../../../block/index.ts';
import { badForeign, unsupportedForeign } from '../fault.ts';
import { readUpTo } from '../read-head.ts';

const HEADER_BYTES = 512;
/** Offsets in the header (VDICore.h of VirtualBox, VDIHEADER1PLUS behind VDIPREHEADER). */
const TYPE_AT = 0x4c;
const LINK_ID_AT = 0x1a8;
const PARENT_ID_AT = 0x1b8;
const ID_BYTES = 16;
const DYNAMIC = 1;
const STATIC = 2;

/** Refuses what QEMU would read with zeros in the places of a parent's data. @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE` */
export async function checkVdi(file: RawFile, path: string): Promise<void> {
  const header = await readUpTo(file, 0, HEADER_BYTES);
  if (header.length < HEADER_BYTES) throw badForeign(path, 'is too short for a VDI');
  const type = header.readUInt32LE(TYPE_AT);
  const hasParent = [LINK_ID_AT, PARENT_ID_AT].some((at) =>
    header.subarray(at, at + ID_BYTES).some((byte) => byte !== 0),
  );
  if ((type === DYNAMIC || type === STATIC) && !hasParent) return;
  throw unsupportedForeign(
    path,
    'is a VDI that holds only the changes to another: make one image of both with VBoxManage clonemedium',
  );
}
