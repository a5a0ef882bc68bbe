import { existsSync } from 'node:fs';
import { mkdir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fromSystem, ImgstoreError, isImgstoreError, systemCode } from '../../errors/index.ts';
import { makeMissingFolders, passPoint, randomOwnerSuffix, syncFolder } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { editConfig, withoutSection, withSection } from '../config/edit.ts';
import { STORE_VERSION } from '../config/format.ts';
import { initStore } from '../init.ts';
import { STORE_FOLDER, storeAt } from '../location.ts';
import type { Monitor } from '../progress.ts';
import { BRANCHES, REMOTES } from '../refs/name.ts';
import { Store } from '../store.ts';
import { tryReadVersion } from '../version/version.ts';
import { fetchBy } from './fetch.ts';
import { nameHead } from './name-head.ts';
import { openTransport } from './open-transport.ts';
import type { FetchedRef } from './plan-fetch.ts';
import { forwardBranches } from './pull.ts';
import type { RefChange } from './ref-change.ts';
import type { Remote, RemoteSettings } from './remote.ts';
import { addRemote, defaultFetch } from './remotes.ts';
import type { TransferSummary } from './transport.ts';
import { keepUnfinished, takeUpUnfinished } from './unfinished-clone.ts';
import { checkUrl, withoutCredentials } from './url.ts';

/** The name of the remote that a store was cloned from. */
const ORIGIN = 'origin';

export interface CloneRequest {
  readonly url: string;
  /** The folder that gets the store. */
  readonly folder: string;
  /** Short names of the branches that are wanted, now and in later fetches; all when there are none. */
  readonly branches: readonly string[];
  readonly settings?: RemoteSettings;
  /** Clusters stay at the remote, which must be a bucket, until they are read. */
  readonly lazy?: boolean;
}

export interface CloneResult {
  /** Path of the store. */
  readonly store: string;
  /** Name. */
  readonly remote: string;
  /** The branches that it has now. */
  readonly branches: readonly RefChange[];
  /** Refs that were not taken over. */
  readonly rejected: readonly RefChange[];
  readonly objects: number;
  readonly receivedBytes: number;
  readonly seconds: number;
}

/**
 * Makes a store out of a remote, with a branch for each of its branches. It is made beside its place and renamed at the end. If this is killed, the next clone or `init` there removes the
 * folder; a clone of the same bucket goes on with the packs that had come, also when this has failed.
 * @throws ImgstoreError `EXISTS`, `USAGE`, `NOT_FOUND` for a branch that is not there, `REMOTE_…`, `DAMAGED`, `IO`
 */
export async function cloneStore(request: CloneRequest, monitor: Monitor = {}): Promise<CloneResult> {
  const began = performance.now();
  const folder = resolve(request.folder);
  const path = join(folder, STORE_FOLDER);
  refuseStore(folder, path);
  const made = await makeFolders(folder);
  const unfinished = `${path}.tmp${randomOwnerSuffix()}`;
  try {
    const filled = await fill(unfinished, request, monitor);
    await put(join(unfinished, STORE_FOLDER), path);
    await rm(unfinished, { recursive: true, force: true });
    const { branches, rejected, summary } = filled;
    const seconds = (performance.now() - began) / 1000;
    const { objects, bytes } = summary;
    return { store: path, remote: ORIGIN, branches, rejected, objects, receivedBytes: bytes, seconds };
  } catch (error) {
    const kept = await keepUnfinished(unfinished, ORIGIN, error);
    if (kept !== undefined) throw kept;
    await rm(unfinished, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
    // Those that have something in them by now stay.
    for (const each of made) await rmdir(each).catch(() => {});
    throw error;
  }
}

/** @throws ImgstoreError `EXISTS` */
function refuseStore(folder: string, path: string): void {
  if (existsSync(path) || isStore(folder))
    throw new ImgstoreError(
      'EXISTS',
      `${existsSync(path) ? path : folder}: a store is here already: clone into another folder`,
      {
        path,
      },
    );
}

function isStore(folder: string): boolean {
  try {
    storeAt(folder);
    return true;
  } catch (error) {
    if (isImgstoreError(error, 'NO_STORE') || isImgstoreError(error, 'BAD_STORE')) return false;
    throw error;
  }
}

/** Makes a folder and those above it; returns those that were made, the lowest first. */
async function makeFolders(folder: string): Promise<string[]> {
  try {
    const first = await makeMissingFolders(folder);
    if (first === undefined) return [];
    const made = [folder];
    while (made.at(-1) !== first) made.push(dirname(made.at(-1)!));
    return made;
  } catch (error) {
    throw fromSystem(error, folder);
  }
}

async function fill(
  folder: string,
  { url, branches: names, settings = {}, lazy = false }: CloneRequest,
  monitor: Monitor,
): Promise<{
  branches: readonly RefChange[];
  rejected: readonly RefChange[];
  summary: TransferSummary;
}> {
  await mkdir(folder, { recursive: true });
  const fetch = names.map((name) => `+${BRANCHES}${name}:${REMOTES}${ORIGIN}/${name}`);
  const { store, remote } = await begin(folder, {
    url,
    settings,
    lazy,
    fetch: fetch.length > 0 ? fetch : [defaultFetch(ORIGIN)],
  });
  try {
    await takeUpUnfinished(dirname(folder), folder, store, remote);
    const transport = await openTransport(store, remote, 'fetch', monitor);
    try {
      const there = await transport.refs(monitor);
      const request = { refspecs: [] };
      const { updates, fetched, summary } = await fetchBy(
        store,
        { remote, transport, there, request },
        monitor,
      );
      refuseMissing(names, fetched);
      const faults = updates.filter(({ kind }) => kind === 'rejected');
      const bad = new Set(faults.map(({ ref }) => ref));
      const whole = fetched.filter(({ ref }) => !bad.has(ref));
      const branches = await forwardBranches(store, whole, `clone: from ${transport.where}`);
      await nameHead(store, there.head, monitor);
      if (branches.length === 0 && there.head !== undefined) await store.refs.setSymbolic('HEAD', there.head);
      await adoptClusterSize(store);
      return {
        branches: branches.filter(({ kind }) => kind !== 'rejected'),
        rejected: [...faults, ...branches.filter(({ kind }) => kind === 'rejected')],
        summary,
      };
    } finally {
      await transport.close();
    }
  } finally {
    store.close();
  }
}

/** An empty store with the remote. */
async function begin(
  folder: string,
  {
    url,
    settings,
    lazy,
    fetch,
  }: Required<Pick<CloneRequest, 'url' | 'settings' | 'lazy'>> & { readonly fetch: readonly string[] },
): Promise<{ readonly store: Store; readonly remote: Remote }> {
  const store = await initStore(folder);
  try {
    if (lazy && checkUrl(url) !== 's3')
      throw new ImgstoreError('USAGE', `--lazy: is for s3:// remotes, '${withoutCredentials(url)}' is none`);
    const remote = await addRemote(store, ORIGIN, url, settings, fetch);
    if (!lazy) return { store, remote };
    // As git has it for partial clones, so that it knows why objects are missing.
    const promisor = withSection('remote', ORIGIN, [['promisor', 'true']]);
    const extension = withSection('extensions', undefined, [['partialclone', ORIGIN]]);
    await editConfig(store.folder, store.rules, (text, path) => extension(promisor(text, path), path));
    store.close();
    return { store: await Store.open(store.folder), remote };
  } catch (error) {
    store.close();
    throw error;
  }
}

/** @throws ImgstoreError `NOT_FOUND` */
function refuseMissing(names: readonly string[], fetched: readonly FetchedRef[]): void {
  for (const name of names)
    if (!fetched.some(({ source }) => source === BRANCHES + name))
      throw new ImgstoreError('NOT_FOUND', `the remote has no branch '${name}': see 'imgstore ls-remote'`, {
        name,
      });
}

/** New versions get clusters of the size that those have which are here: others would share nothing with them. */
async function adoptClusterSize(store: Store): Promise<void> {
  const size = await clusterSizeOf(store);
  if (size === undefined || size === store.clusterSize) return;
  await editConfig(store.folder, store.rules, (text, path) =>
    withSection('imgstore', undefined, [
      ['version', `${STORE_VERSION}`],
      ['clusterSize', `${size}`],
    ])(withoutSection('imgstore')(text, path), path),
  );
}

/** Of HEAD's last version, or of any branch's. */
async function clusterSizeOf(store: Store): Promise<number | undefined> {
  const head = (await store.refs.follow('HEAD')).id;
  const tips: (ObjectId | undefined)[] = [head, ...(await store.refs.list(BRANCHES)).map(({ id }) => id)];
  for (const tip of tips) {
    const version = tip === undefined ? undefined : tryReadVersion(store.objects, tip);
    if (version !== undefined) return version.record.clusterSize;
  }
  return undefined;
}

async function put(from: string, to: string): Promise<void> {
  try {
    passPoint('clone.rename', to);
    await rename(from, to);
    await syncFolder('clone', dirname(to));
  } catch (error) {
    // Another process was faster.
    if (['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? ''))
      throw new ImgstoreError('EXISTS', `${to}: a store is here already`, { path: to });
    throw fromSystem(error, to);
  }
}
