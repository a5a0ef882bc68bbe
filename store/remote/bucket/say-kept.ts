import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImgstoreError } from '../../../errors/index.ts';

/** Less is fetched again sooner than it is worth a word, or kept where something must be left lying about for it. */
const LEAST_KEPT_BYTES = 2 ** 20;

/**
 * What to fail with when a fetch has failed and the next one goes on with what has come: the same error, which says so; undefined when hardly anything has come.
 * @param incoming the folder in which it is
 * @param kept what programs are told: the folder that stays
 */
export async function sayKept(
  error: unknown,
  incoming: string,
  kept = incoming,
): Promise<ImgstoreError | undefined> {
  if (!(error instanceof ImgstoreError)) return undefined;
  if ((await bytesBelow(incoming)) < LEAST_KEPT_BYTES) return undefined;
  const isSaid = error.data.kept !== undefined;
  const message = isSaid
    ? error.message
    : `${error.message}: what has come is kept: run the same command again to go on`;
  return new ImgstoreError(error.code, message, { ...error.data, kept }, error);
}

async function bytesBelow(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  let bytes = 0;
  for (const entry of entries)
    if (entry.isFile())
      bytes += (await stat(join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }))).size;
  return bytes;
}
