import { readdirSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ImgstoreError } from '../../errors/index.ts';
import { isLeftBehind, removeLeftBehindIn } from '../../files/index.ts';
import { loadConfig } from '../config/config.ts';
import { STORE_FOLDER } from '../location.ts';
import type { Store } from '../store.ts';
import { BucketPlace } from './bucket/place.ts';
import { sayKept } from './bucket/say-kept.ts';
import { type Remote, readRemote } from './remote.ts';

/** What the folder of a clone that is being made begins with, beside the place of the store. */
export const UNFINISHED = `${STORE_FOLDER}.tmp_`;

/** Paths of clones that have failed in this process, which is not gone yet. */
const failedHere = new Set<string>();

/**
 * Decides whether what a clone has fetched before it failed stays for the next one.
 * @param unfinished the folder that has the store
 * @returns what to fail with: the same error, or when it stays, one that says so; undefined when there is nothing to keep
 */
export async function keepUnfinished(
  unfinished: string,
  remote: string,
  error: unknown,
): Promise<ImgstoreError | undefined> {
  const said = await sayKept(error, placeIn(unfinished, remote).incoming, unfinished);
  if (said !== undefined) failedHere.add(unfinished);
  return said;
}

/**
 * Gives a clone that begins what has come for one of the same URL into the same folder that was killed or has failed; removes what such clones have left. What is taken over is looked at by
 * the fetch as it looks at what the server sends.
 * @param folder in which the clone makes its store
 * @param except the clone's own folder
 */
export async function takeUpUnfinished(
  folder: string,
  except: string,
  store: Store,
  remote: Remote,
): Promise<void> {
  const own = new BucketPlace(store, remote.name);
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (path === except || !name.startsWith(UNFINISHED)) continue;
    if (isLeftBehind(name) !== true && !failedHere.has(path)) continue;
    const isSame = await isCloneOf(path, remote).catch(() => false);
    const theirs = placeIn(path, remote.name!);
    // The parts of what was kept last count: of two, the second one finds the place taken.
    if (isSame) await move(theirs.incoming, own.incoming);
    if (failedHere.delete(path)) await rm(path, { recursive: true, force: true, maxRetries: 3 });
  }
  await removeLeftBehindIn('init', folder, UNFINISHED);
}

async function isCloneOf(path: string, { name, url, endpoint }: Remote): Promise<boolean> {
  const config = await loadConfig(join(path, STORE_FOLDER, 'config'));
  const other = readRemote(config, name!);
  return other !== undefined && other.url === url && other.endpoint === endpoint;
}

/** Takes a folder over, unless there is none, or another process or clone was faster. */
async function move(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await rename(from, to).catch(() => {});
}

function placeIn(unfinished: string, remote: string): BucketPlace {
  return new BucketPlace({ folder: join(unfinished, STORE_FOLDER), rules: {} }, remote);
}
