import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { counted, fromSystem, isImgstoreError, systemCode } from '../../errors/index.ts';
import {
  FileBytes,
  Idx,
  isOutOfResources,
  PACK_HEADER_BYTES,
  PACK_TRAILER_BYTES,
  Pack,
  parsePackHeader,
  scanPack,
} from '../../pack/index.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import type { Findings } from './findings.ts';
import type { PackSource } from './pack-source.ts';

/** All packs of a folder, also damaged ones. */
export interface PackSources {
  readonly packs: readonly PackSource[];
  /** Stems of packs without an index, which nobody sees: of work that was stopped, or whose index was removed. */
  readonly unindexed: readonly string[];
  /** Stems of indexes without a pack. */
  readonly packless: readonly string[];
}

const FILE_PATTERN = /^(pack-[0-9a-f]+)\.(idx|pack)$/;

/** How often the folder is looked at anew since a pack went between the look and the opening. */
const MOST_LOOKS = 10;

/** How deep the check of a pack goes. */
export interface PackExamination {
  readonly findings: Findings;
  readonly workers: ClusterWorkers;
  /** Leaves out what takes a read of the whole pack. */
  readonly quick: boolean;
}

/** Opens every pack, the largest first. @throws ImgstoreError `IO` */
export async function openPackSources(folder: string, examination: PackExamination): Promise<PackSources> {
  for (let looks = 1; ; looks++) {
    const stems = listStems(folder);
    const opened: PackSource[] = [];
    const packless: string[] = [];
    let moved = false;
    for (const stem of stems.idx) {
      const source = await openSource(stem, examination);
      if (source !== undefined) opened.push(source);
      // It is there and cannot be read.
      else if (existsSync(`${stem}.pack`)) continue;
      // Of a pack that another process removes, the index goes first.
      else if (existsSync(`${stem}.idx`)) packless.push(stem);
      else moved = true;
    }
    if (!moved || looks === MOST_LOOKS) {
      const packs = opened.sort((a, b) => b.pack.idx.count - a.pack.idx.count || (a.stem < b.stem ? -1 : 1));
      const indexed = new Set(stems.idx);
      return { packs, packless, unindexed: stems.pack.filter((stem) => !indexed.has(stem)) };
    }
    for (const { pack } of opened) pack.close();
    examination.findings.files.length = 0;
  }
}

/** Stems by what is there of them. */
export function listStems(folder: string): { readonly idx: string[]; readonly pack: string[] } {
  const stems = { idx: [] as string[], pack: [] as string[] };
  try {
    for (const name of readdirSync(folder).sort()) {
      const match = FILE_PATTERN.exec(name);
      if (match !== null) stems[match[2] as 'idx' | 'pack'].push(join(folder, match[1]!));
    }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw fromSystem(error, folder);
  }
  return stems;
}

/** Undefined for what is gone, or cannot be read at all, which is a finding. */
async function openSource(stem: string, examination: PackExamination): Promise<PackSource | undefined> {
  const index = openIndex(stem);
  if (index === undefined) return undefined;
  try {
    return await openWithIndex(stem, index, examination);
  } catch (error) {
    index.file?.close();
    if (!isImgstoreError(error) || isOutOfResources(error)) throw error;
    if (error.code !== 'NOT_FOUND')
      examination.findings.files.push({ path: `${stem}.pack`, kind: 'pack', reason: error.message });
    return undefined;
  }
}

async function openWithIndex(
  stem: string,
  { file, idx, fault }: OpenedIndex,
  examination: PackExamination,
): Promise<PackSource> {
  const { findings } = examination;
  const head = readHead(`${stem}.pack`);
  const verdict: Verdict =
    idx === undefined || fault !== undefined ? { index: fault! } : await judge(stem, idx, head, examination);
  if (verdict.index === undefined) {
    if (verdict.pack !== undefined)
      findings.files.push({ path: `${stem}.pack`, kind: 'pack', reason: verdict.pack });
    const pack = new Pack(stem, { idx: idx!, file: file! });
    return { stem, pack, scanned: undefined, fits: verdict.pack === undefined ? undefined : false };
  }
  findings.files.push({ path: `${stem}.idx`, kind: 'idx', reason: verdict.index });
  const source = await openByScan(stem, hintsOf(idx), findings);
  file?.close();
  return source;
}

/** Opens a pack by what it holds itself. */
async function openByScan(stem: string, hints: readonly number[], findings: Findings): Promise<PackSource> {
  const scanned = await scanPack(`${stem}.pack`, hints);
  const [fault] = scanned.faults;
  if (fault !== undefined) {
    const more = scanned.faults.length > 1 ? ` (and ${scanned.faults.length - 1} more)` : '';
    findings.files.push({ path: `${stem}.pack`, kind: 'pack', reason: `${fault}${more}` });
  }
  const idx = scanned.idx(`${stem}.idx`);
  const pack = new Pack(stem, { idx, file: { size: 0, close: () => {} } });
  return { stem, pack, scanned, fits: fault === undefined ? undefined : false };
}

interface OpenedIndex {
  readonly file: FileBytes | undefined;
  /** Undefined when not even its frame can be read. */
  readonly idx: Idx | undefined;
  /** Undefined when it is whole. */
  readonly fault: string | undefined;
}

/** Undefined when it is gone. */
function openIndex(stem: string): OpenedIndex | undefined {
  let file: FileBytes | undefined;
  let idx: Idx | undefined;
  try {
    file = new FileBytes(`${stem}.idx`);
    idx = new Idx(file);
    idx.verify();
    for (let position = 0; position < idx.count; position++) idx.offset(position);
    return { file, idx, fault: undefined };
  } catch (error) {
    if (!isImgstoreError(error) || isOutOfResources(error)) throw error;
    if (error.code === 'NOT_FOUND') return undefined;
    return { file, idx, fault: error.message };
  }
}

interface PackHead {
  readonly size: number;
  /** Undefined when it is damaged. */
  readonly entries: number | undefined;
  readonly fault: string | undefined;
  readonly trailer: Buffer;
}

function readHead(path: string): PackHead {
  const file = new FileBytes(path);
  try {
    const { size } = file;
    if (size < PACK_HEADER_BYTES + PACK_TRAILER_BYTES)
      return { size, entries: undefined, fault: `has ${size} bytes`, trailer: Buffer.alloc(0) };
    const trailer = Buffer.from(file.bytes(size - PACK_TRAILER_BYTES, PACK_TRAILER_BYTES));
    try {
      const entries = parsePackHeader(file.bytes(0, PACK_HEADER_BYTES));
      return { size, entries, fault: undefined, trailer };
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      return { size, entries: undefined, fault: error.message, trailer };
    }
  } finally {
    file.close();
  }
}

/** What is wrong with a pack or its index. */
interface Verdict {
  readonly pack?: string;
  readonly index?: string;
}

/** Which of a pack and its index is wrong when they do not fit each other; the index is whole by its own checksum. */
async function judge(
  stem: string,
  idx: Idx,
  head: PackHead,
  { workers, quick }: PackExamination,
): Promise<Verdict> {
  const wanted = idx.packChecksum();
  const same = head.trailer.equals(wanted);
  if (same) {
    if (head.fault !== undefined) return { pack: head.fault };
    return head.entries === idx.count
      ? {}
      : { pack: `says that it holds ${counted(head.entries!, 'entry', 'entries')}, its index ${idx.count}` };
  }
  if (head.trailer.length > 0 && !quick) {
    const computed = await workers.checksum(`${stem}.pack`);
    if (computed === head.trailer.toString('hex'))
      return { index: `${stem}.idx: is the index of another pack` };
  }
  return { pack: head.fault ?? 'its checksum is not the one in its index' };
}

/** Where the entries begin by an index that is damaged somewhere. */
function hintsOf(idx: Idx | undefined): number[] {
  const hints: number[] = [];
  for (let position = 0; position < (idx?.count ?? 0); position++) {
    try {
      hints.push(idx!.offset(position));
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
    }
  }
  return hints.sort((a, b) => a - b);
}
