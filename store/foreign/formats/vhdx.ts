import type { RawFile } from '../../../block/index.ts';
import { badForeign, unsupportedForeign } from '../fault.ts';
import { readUpTo } from '../read-head.ts';

/** Where the two region tables lie ("VHDX Format Specification", 3.1). */
const REGION_TABLES_AT = [192 * 1024, 256 * 1024];
const REGION_TABLE_BYTES = 64 * 1024;
const REGION_SIGNATURE = 'regi';
const REGION_ENTRIES_AT = 16;
/** 3.2: metadata table. */
const METADATA_TABLE_BYTES = 64 * 1024;
const METADATA_SIGNATURE = 'metadata';
const METADATA_ENTRIES_AT = 32;
const ENTRY_BYTES = 32;
const MOST_ENTRIES = 2047;

/** GUIDs as they lie in the file. */
const METADATA_REGION = Buffer.from('06a27c8b90479a4bb8fe575f050f886e', 'hex');
const FILE_PARAMETERS = Buffer.from('3767a1ca36fa434db3b633f0aa44e76b', 'hex');
const PARENT_LOCATOR = Buffer.from('2d5fd3a80bb34d45abf7d3d84834ab0c', 'hex');
const HAS_PARENT = 2;

/** Refuses what QEMU would read with zeros in the places of a parent's data. @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE` */
export async function checkVhdx(file: RawFile, path: string): Promise<void> {
  let found = false;
  for (const at of REGION_TABLES_AT) {
    const table = await readUpTo(file, at, REGION_TABLE_BYTES);
    if (table.toString('latin1', 0, 4) !== REGION_SIGNATURE) continue;
    for (const entry of entries(table, REGION_ENTRIES_AT, table.readUInt32LE(8))) {
      if (!entry.subarray(0, 16).equals(METADATA_REGION)) continue;
      found = true;
      await checkMetadata(file, path, entry.readBigUInt64LE(16));
    }
  }
  if (!found) throw badForeign(path, 'is no valid VHDX: it has no metadata');
}

async function checkMetadata(file: RawFile, path: string, at: bigint): Promise<void> {
  const base = Number(at);
  const table = base < file.size ? await readUpTo(file, base, METADATA_TABLE_BYTES) : Buffer.alloc(0);
  if (table.toString('latin1', 0, 8) !== METADATA_SIGNATURE)
    throw badForeign(path, 'is no valid VHDX: its metadata are damaged');
  let parameters: Buffer | undefined;
  for (const entry of entries(table, METADATA_ENTRIES_AT, table.readUInt16LE(10))) {
    const id = entry.subarray(0, 16);
    if (id.equals(PARENT_LOCATOR)) throw differencing(path);
    if (id.equals(FILE_PARAMETERS)) parameters = await readUpTo(file, base + entry.readUInt32LE(16), 8);
  }
  if (parameters?.length !== 8) throw badForeign(path, 'is no valid VHDX: it has no file parameters');
  if ((parameters.readUInt32LE(4) & HAS_PARENT) !== 0) throw differencing(path);
}

function* entries(table: Buffer, at: number, count: number): Generator<Buffer> {
  for (let i = 0; i < Math.min(count, MOST_ENTRIES); i++) {
    const entry = table.subarray(at + i * ENTRY_BYTES, at + (i + 1) * ENTRY_BYTES);
    if (entry.length === ENTRY_BYTES) yield entry;
  }
}

function differencing(path: string) {
  return unsupportedForeign(
    path,
    'is a differencing VHDX, which holds only the changes to another: merge them in Hyper-V first',
  );
}
