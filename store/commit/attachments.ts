import { readFile, stat } from 'node:fs/promises';
import { fromSystem, ImgstoreError } from '../../errors/index.ts';
import { compareEntries, MODE_FILE, type TreeEntry } from '../../objects/index.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';

/** A file to be kept beside the disks of a version: a domain's XML, NVRAM, notes. */
export interface Attachment {
  readonly name: string;
  readonly path: string;
}

/** It is read whole, so its size is bounded. */
const MOST_BYTES = 64 * 1024 * 1024;

/** Stores files as blobs and returns them as entries of a tree. @throws ImgstoreError `BAD_IMAGE` for what is no file or too large, `IO`. */
export async function storeAttachments(
  transaction: ObjectTransaction,
  attachments: readonly Attachment[],
): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = [];
  for (const { name, path } of attachments) {
    entries.push({ mode: MODE_FILE, name, id: await transaction.put('blob', await readSmallFile(path)) });
  }
  return entries.sort(compareEntries);
}

async function readSmallFile(path: string): Promise<Uint8Array> {
  try {
    const stats = await stat(path);
    if (!stats.isFile())
      throw new ImgstoreError('BAD_IMAGE', `${path}: is no file that can be attached`, { path });
    if (stats.size > MOST_BYTES) {
      throw new ImgstoreError(
        'BAD_IMAGE',
        `${path}: is ${stats.size} bytes long: an attachment can have ${MOST_BYTES}`,
        { path },
      );
    }
    return await readFile(path);
  } catch (error) {
    throw fromSystem(error, path);
  }
}
