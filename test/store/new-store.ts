import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import {
  type CommitRequest,
  type CommitResult,
  commitVersion,
  initStore,
  type Monitor,
  Store,
} from '../../store/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import './git.ts';

/** The smallest cluster size that a store can have: small disks then have many clusters. */
export const SMALL = 4096;

/** A new store in a folder of its own, and what names files beside it. */
export interface TestStore {
  readonly store: Store;
  /** Of the store: `…/.imgstore`. */
  readonly path: string;
  /** A path in the folder that the store is in. */
  readonly file: (name: string) => string;
}

/** Makes a store that goes away with the test; `settings` go into its config as `key=value` of the section `imgstore`. */
export async function newStore(
  clusterSize = SMALL,
  settings: Readonly<Record<string, string | number>> = {},
): Promise<TestStore> {
  const folder = await temporaryFolder();
  const made = await initStore(folder, { clusterSize });
  const path = made.folder;
  made.close();
  const lines = Object.entries(settings).map(([key, value]) => `\t${key} = ${value}\n`);
  await writeFile(join(path, 'config'), lines.join(''), { flag: 'a' });
  return { store: await reopen(path), path, file: (name) => join(folder, name) };
}

/** Opens a store once more, as another process would. */
export async function reopen(path: string): Promise<Store> {
  const store = await Store.open(path);
  onTestFinished(() => store.close());
  return store;
}

/** Commits one disk `vda` from bytes, by way of a raw file named after the branch. */
export async function commitBytes(
  { store, file }: TestStore,
  branch: string,
  bytes: Uint8Array,
  request: Partial<CommitRequest> = {},
  monitor: Monitor = {},
): Promise<CommitResult> {
  const path = file(`${branch.replaceAll('/', '-')}.raw`);
  await writeFile(path, bytes);
  return commitVersion(store, { disks: [{ name: 'vda', path }], branch, ...request }, monitor);
}

/** Every file below a folder but those of our own cache, by relative path. */
export function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .filter((name) => !name.startsWith('imgstore/'))
    .sort();
}

/** Longer than the ticks of the clock by which the system stamps files: what is younger, the stat cache does not take. */
const SETTLE_MS = 60;

/** Waits until what was written before counts as old. */
export function settle(): Promise<void> {
  return sleep(SETTLE_MS);
}
