import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import { ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import {
  checksumFits,
  FileBytes,
  isOutOfResources,
  MIDX_FILE,
  Midx,
  Mtimes,
  PackOrder,
  Rev,
} from '../../pack/index.ts';
import type { PackSource } from './pack-source.ts';
import type { DamagedFile, StoreFile } from './report.ts';
import type { Check } from './verify.ts';

/** Ids that are compared between two chances for others to run. */
const IDS_A_TURN = 4096;

/** Checks the files beside packs: reverse indexes, the multi-pack-index, and those that only git reads. */
export async function checkSideFiles(check: Check): Promise<void> {
  const { inventory, findings, store } = check;
  const folder = store.objects.packs.folder;
  for (const source of inventory.packs) {
    note(check, 'rev', `${source.stem}.rev`, (file) => {
      const { idx } = source.pack;
      new Rev(file, idx.count, idx.packChecksum()).verify(new PackOrder(source.pack).positions);
    });
    note(check, 'mtimes', `${source.stem}.mtimes`, (file) => {
      const { idx } = source.pack;
      new Mtimes(file, idx.count, idx.packChecksum()).verify();
    });
    await breathe();
  }
  const fault = await midxFault(folder, inventory.packs);
  // A pack that another process has put in place or taken away meanwhile leads to false ones: only what is still so counts.
  if (fault !== undefined && (await midxFault(folder, inventory.packs)) === fault)
    findings.files.push({ path: join(folder, MIDX_FILE), kind: 'midx', reason: fault });
  const objects = store.objects.loose.folder;
  for (const { path, kind } of gitOnlyFiles(folder, objects))
    note(check, kind, path, (file) => {
      if (!checksumFits(file)) throw new ImgstoreError('DAMAGED', 'its checksum does not fit its bytes');
    });
}

/** Looks at a file, if it is there, and notes what is thrown as damage of it. */
function note({ findings }: Check, kind: StoreFile, path: string, look: (file: FileBytes) => void): void {
  const reason = faultOf(path, look);
  if (reason !== undefined && existsSync(path))
    findings.files.push({ path, kind, reason } satisfies DamagedFile);
}

function faultOf(path: string, look: (file: FileBytes) => void): string | undefined {
  let file: FileBytes | undefined;
  try {
    file = new FileBytes(path);
    look(file);
    return undefined;
  } catch (error) {
    if (!isImgstoreError(error) || isOutOfResources(error)) throw error;
    return error.code === 'NOT_FOUND' ? undefined : error.message;
  } finally {
    file?.close();
  }
}

/** What is wrong with the multi-pack-index, by itself or against the indexes of its packs. */
async function midxFault(folder: string, packs: readonly PackSource[]): Promise<string | undefined> {
  let file: FileBytes | undefined;
  try {
    file = new FileBytes(join(folder, MIDX_FILE));
    const midx = new Midx(file);
    midx.verify();
    return await contradiction(folder, midx, packs);
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    // One that builds on others is for git alone.
    return error.code === 'NOT_FOUND' || error.code === 'UNSUPPORTED' ? undefined : error.message;
  } finally {
    file?.close();
  }
}

async function contradiction(
  folder: string,
  midx: Midx,
  packs: readonly PackSource[],
): Promise<string | undefined> {
  const byName = new Map(packs.map((source) => [`${basename(source.stem)}.idx`, source]));
  const gone = midx.packs.find((name) => !byName.has(name));
  if (gone !== undefined) {
    // New since the check began.
    if (existsSync(join(folder, gone)) && existsSync(join(folder, gone.replace(/idx$/, 'pack'))))
      return undefined;
    return `names ${gone}, which is not there`;
  }
  let turn = 0;
  for (const { id, pack, offset } of midx.entries()) {
    if (++turn % IDS_A_TURN === 0) await breathe();
    const { idx } = byName.get(pack)!.pack;
    const position = idx.find(id);
    if (position === undefined || idx.offset(position) !== offset)
      return `object ${id} is not where it says in ${pack}`;
  }
  const covered = midx.packs.map((name) => byName.get(name)!);
  const entries = covered.reduce((sum, { pack }) => sum + pack.idx.count, 0);
  // As every one of its objects is in a pack, equal numbers leave none out.
  const left = entries === midx.count ? undefined : leftOut(midx, covered);
  return left === undefined ? undefined : `object ${left} of its packs is not in it`;
}

function leftOut(midx: Midx, covered: readonly PackSource[]): ObjectId | undefined {
  for (const { pack } of covered)
    for (let position = 0; position < pack.idx.count; position++) {
      const id = pack.idx.id(position);
      if (midx.ids.find(id) === undefined) return id;
    }
  return undefined;
}

/** Files that git writes and imgstore never reads; all end in a checksum of what comes before. */
function gitOnlyFiles(packs: string, objects: string): { readonly path: string; readonly kind: StoreFile }[] {
  const graphs = join(objects, 'info', 'commit-graphs');
  return [
    ...names(packs, /^(?:pack|multi-pack-index)-[0-9a-f]+\.bitmap$/).map((path) => ({
      path,
      kind: 'bitmap' as const,
    })),
    ...names(packs, /^multi-pack-index-[0-9a-f]+\.rev$/).map((path) => ({ path, kind: 'rev' as const })),
    ...names(graphs, /^graph-[0-9a-f]+\.graph$/).map((path) => ({ path, kind: 'commit-graph' as const })),
    ...names(join(objects, 'info'), /^commit-graph$/).map((path) => ({
      path,
      kind: 'commit-graph' as const,
    })),
  ];
}

function names(folder: string, pattern: RegExp): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => pattern.test(name))
      .map((name) => join(folder, name));
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return [];
    throw error;
  }
}
