import { readdirSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fromSystem } from '../../errors/index.ts';
import { type FileRules, LockFile, PendingFile, passPoint, syncFolder } from '../../files/index.ts';
import type { Pack } from '../pack.ts';
import { encodeMidx } from './encode.ts';
import { MIDX_FILE } from './layout.ts';
import type { MidxSource } from './merge.ts';

/** Permission bits: it is replaced, never changed. */
const MIDX_MODE = 0o444;

/** Bytes that are gathered before they are written. */
const WRITE_BYTES = 1024 * 1024;

/** What git lays beside a multi-pack-index and finds by its checksum, and the folder of a chain of them. */
const COMPANION = /^multi-pack-index(-[0-9a-f]+\.(bitmap|rev)|\.d)$/;

/**
 * Writes a multi-pack-index over some packs of a folder in place of the one that is there. Costs a read of all their indexes.
 * @throws ImgstoreError `BUSY` when another process is writing it, `DAMAGED` when an index cannot be read, `IO`
 */
export async function writeMidx(
  folder: string,
  packs: readonly Pack[],
  rules: FileRules = {},
): Promise<void> {
  await locked(folder, rules, async (path) => {
    const { sharing } = rules;
    const file = await PendingFile.create('midx', folder, { mode: MIDX_MODE, sharing });
    try {
      await writeBlocks(file, packs);
      await file.sync();
      await file.rename(path);
    } catch (error) {
      await file.discard();
      throw error;
    }
    await removeCompanions(folder);
    await syncFolder('midx', folder);
  });
}

/** Fails when another process is writing the multi-pack-index of a folder: to be asked before work that would be in vain. @throws ImgstoreError `BUSY`. */
export async function refuseHeldMidx(folder: string, rules: FileRules = {}): Promise<void> {
  await LockFile.waitUntilFree(join(folder, MIDX_FILE), rules);
}

/** Removes the multi-pack-index of a folder, if there is one. @throws ImgstoreError `BUSY`, `IO`. */
export async function removeMidx(folder: string, rules: FileRules = {}): Promise<void> {
  await locked(folder, rules, async (path) => {
    await remove(path);
    await removeCompanions(folder);
    await syncFolder('midx', folder);
  });
}

async function writeBlocks(file: PendingFile, packs: readonly Pack[]): Promise<void> {
  const sources = packs.map(({ stem, path, idx }) => ({
    name: `${basename(stem)}.idx`,
    idx,
    mtime: mtimeSeconds(path),
  }));
  await writeMidxInto(file, sources);
}

/** Writes a multi-pack-index into a file that is empty. @throws ImgstoreError `DAMAGED` when an index cannot be read, `IO` */
export async function writeMidxInto(file: PendingFile, sources: readonly MidxSource[]): Promise<void> {
  let at = 0;
  for (const bytes of joined(encodeMidx(sources))) {
    await file.write(at, bytes);
    at += bytes.length;
  }
}

/** The encoder's blocks are short; a write each would take longer than all else. */
function* joined(blocks: Iterable<Uint8Array>): Generator<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for (const block of blocks) {
    waiting.push(block);
    bytes += block.length;
    if (bytes < WRITE_BYTES) continue;
    yield Buffer.concat(waiting);
    waiting = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(waiting);
}

/** git takes the same lock for the file. */
async function locked(
  folder: string,
  rules: FileRules,
  change: (path: string) => Promise<void>,
): Promise<void> {
  const lock = await LockFile.take('midx', join(folder, MIDX_FILE), rules);
  try {
    await change(lock.path);
  } finally {
    await lock.release();
  }
}

/** They are of the one that was replaced: a chain would go on naming packs that are removed next. */
async function removeCompanions(folder: string): Promise<void> {
  for (const name of readdirSync(folder)) if (COMPANION.test(name)) await remove(join(folder, name));
}

async function remove(path: string): Promise<void> {
  try {
    passPoint('midx.remove', path);
    await rm(path, { force: true, recursive: true });
  } catch (error) {
    throw fromSystem(error, path);
  }
}

function mtimeSeconds(path: string): number {
  try {
    return Math.floor(statSync(path).mtimeMs / 1000);
  } catch (error) {
    throw fromSystem(error, path);
  }
}
