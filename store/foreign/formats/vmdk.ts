import type { RawFile } from '../../../block/index.ts';
import { badForeign, unsupportedForeign } from '../fault.ts';
import type { NamedFiles } from '../named-files.ts';
import { readUpTo } from '../read-head.ts';
import { parseVmdkDescriptor, type VmdkDescriptor } from './vmdk-descriptor.ts';

const SECTOR_BYTES = 512;
const SPARSE_MAGIC = 'KDMV';
const ESX_SPARSE_MAGIC = 'COWD';
const SPARSE_HEADER_BYTES = 512;

/** What QEMU reads of a descriptor file. */
const MAX_DESCRIPTOR_BYTES = 1 << 20;
/** Where QEMU looks for a parent's name in a sparse file, wherever its header says that the descriptor is, and how far. */
const EMBEDDED_DESCRIPTOR_AT = 0x200;
const EMBEDDED_DESCRIPTOR_BYTES = 20 * SECTOR_BYTES;

/** Each costs file handles, of us and of QEMU. A disk of 1 TiB in files of 2 GiB has 512. */
const MAX_EXTENTS = 1024;

/** Types of extents that QEMU reads. */
const EXTENT_TYPES: ReadonlySet<string> = new Set(['FLAT', 'VMFS', 'SPARSE', 'VMFSSPARSE', 'SESPARSE']);

/** The fields of a sparse extent's header that lead elsewhere ("Hosted Sparse Extent Header"). */
interface SparseHeader {
  /** Sectors of the disk; QEMU takes 0 for "all is in the descriptor". */
  readonly capacity: bigint;
  /** Bytes. */
  readonly descriptorAt: bigint;
  readonly descriptorLength: bigint;
}

/**
 * Checks a VMDK, and opens the extents that its descriptor names.
 * @param guessed its name does not say that it is a VMDK, so it may be a guest's disk: it must name no files
 * @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE`, `FORBIDDEN`, `NOT_FOUND`
 */
export async function checkVmdk(file: RawFile, path: string, named: NamedFiles): Promise<void> {
  const magic = (await readUpTo(file, 0, 4)).toString('latin1');
  if (magic === ESX_SPARSE_MAGIC) {
    throw unsupportedForeign(
      path,
      'is one extent of a VMDK: name the small text file that describes the whole disk',
    );
  }
  if (magic === SPARSE_MAGIC) return checkSparseDisk(file, path);
  const text = (await readUpTo(file, 0, MAX_DESCRIPTOR_BYTES)).toString('latin1');
  const descriptor = parseVmdkDescriptor(text);
  refuseParent(descriptor, path);
  if (descriptor.extents.length === 0) throw badForeign(path, 'is no VMDK: it names no extent');
  if (descriptor.extents.length > MAX_EXTENTS)
    throw unsupportedForeign(path, `has ${descriptor.extents.length} extents: ${MAX_EXTENTS} are the limit`);
  for (const { access, type, file: name } of descriptor.extents) {
    // QEMU leaves such extents out, and what follows would move forward.
    if (access !== 'RW' || name === undefined || !EXTENT_TYPES.has(type)) {
      throw unsupportedForeign(
        path,
        `has an extent ${access} ${type}, which QEMU does not read: convert it with the tools of VMware`,
      );
    }
    const extent = await named.open(name, path, 'extent');
    const header = await readSparseHeader(extent);
    if (header !== undefined) refuseNested(header, extent.path);
  }
}

/** A disk in one file with the descriptor inside. */
async function checkSparseDisk(file: RawFile, path: string): Promise<void> {
  const header = await readSparseHeader(file);
  if (header === undefined) throw badForeign(path, 'is too short for a VMDK');
  refuseNested(header, path);
  if (header.descriptorAt === 0n || header.descriptorLength === 0n) {
    throw unsupportedForeign(
      path,
      'is one extent of a VMDK: name the small text file that describes the whole disk',
    );
  }
  const at = Number(header.descriptorAt);
  const length = Math.min(Number(header.descriptorLength), MAX_DESCRIPTOR_BYTES);
  for (const bytes of [
    await readUpTo(file, at, length),
    await readUpTo(file, EMBEDDED_DESCRIPTOR_AT, EMBEDDED_DESCRIPTOR_BYTES),
  ]) {
    refuseParent(parseVmdkDescriptor(bytes.toString('latin1')), path);
  }
}

async function readSparseHeader(file: RawFile): Promise<SparseHeader | undefined> {
  const bytes = await readUpTo(file, 0, SPARSE_HEADER_BYTES);
  if (bytes.length < SPARSE_HEADER_BYTES || bytes.toString('latin1', 0, 4) !== SPARSE_MAGIC) return undefined;
  const sector = BigInt(SECTOR_BYTES);
  return {
    capacity: bytes.readBigUInt64LE(12),
    descriptorAt: bytes.readBigUInt64LE(28) * sector,
    descriptorLength: bytes.readBigUInt64LE(36) * sector,
  };
}

/** QEMU reads the descriptor in such a file as one that names extents. */
function refuseNested({ capacity }: SparseHeader, path: string): void {
  if (capacity === 0n)
    throw unsupportedForeign(path, 'is a VMDK extent of size 0 whose descriptor stands for it');
}

function refuseParent({ hasParent }: VmdkDescriptor, path: string): void {
  if (!hasParent) return;
  throw unsupportedForeign(
    path,
    'holds only the changes to another VMDK: make one image of both with qemu-img convert -O qcow2',
  );
}
