import { ImgstoreError } from '../../errors/index.ts';
import { NULL_ID } from '../../objects/index.ts';
import { type ConfigSetting, editConfig, withoutSection, withSection } from '../config/edit.ts';
import { lazyRemote } from '../config/format.ts';
import { currentPerson } from '../person.ts';
import { REMOTES, refNameFault } from '../refs/name.ts';
import { excludeEachOther } from '../refs/refs.ts';
import type { Store } from '../store.ts';
import { BucketPlace } from './bucket/place.ts';
import { type Remote, type RemoteSettings, readRemote, S3_SETTINGS } from './remote.ts';
import { absoluteUrl, checkUrl, withoutCredentials } from './url.ts';

/** Names of remotes have their refs below `refs/remotes/`, so what refs allow, remotes do. */
const KEY_PATTERN = /^remote\.([\s\S]+)\.([^.]+)$/;

/** All remotes by name. @throws ImgstoreError `BAD_STORE`. */
export function listRemotes(store: Store): Remote[] {
  const names = new Set(store.config.names(KEY_PATTERN));
  return [...names]
    .sort()
    .map((name) => readRemote(store.config, name))
    .filter((remote) => remote !== undefined);
}

/** @param name undefined: `origin`, or the only one @throws ImgstoreError `NOT_FOUND`, `AMBIGUOUS` */
export function findRemote(store: Store, name: string | undefined): Remote {
  if (name === undefined) return defaultRemote(store);
  const remote = readRemote(store.config, name);
  if (remote !== undefined) return remote;
  throw new ImgstoreError(
    'NOT_FOUND',
    `no remote '${name}': see 'imgstore remote', or make it with 'imgstore remote add ${name} URL'`,
    { name },
  );
}

function defaultRemote(store: Store): Remote {
  const remotes = listRemotes(store);
  const origin = remotes.find(({ name }) => name === 'origin');
  if (origin !== undefined) return origin;
  if (remotes.length === 1) return remotes[0]!;
  if (remotes.length === 0)
    throw new ImgstoreError('NOT_FOUND', "the store has no remote: run 'imgstore remote add NAME URL'");
  const names = remotes.map(({ name }) => name);
  throw new ImgstoreError('AMBIGUOUS', `there are the remotes ${names.join(', ')}: name one`, { names });
}

/** A remote that is only a URL, and in no config. @throws ImgstoreError `USAGE`. */
export function remoteOfUrl(url: string, settings: RemoteSettings = {}): Remote {
  refuseSettings(url, settings);
  return { ...settings, name: undefined, url: absoluteUrl(url), fetch: [], push: [], prune: false };
}

/**
 * Enters a remote into the store's config.
 * @throws ImgstoreError `EXISTS`, `BAD_NAME`, `USAGE` for a URL that cannot be or options of another kind of remote, `BUSY`, `IO`
 */
export async function addRemote(
  store: Store,
  name: string,
  url: string,
  settings: RemoteSettings = {},
  fetch: readonly string[] = [defaultFetch(name)],
): Promise<Remote> {
  refuseName(name);
  refuseSettings(url, settings);
  const kept = absoluteUrl(url);
  const lines: ConfigSetting[] = [['url', kept], ...fetch.map((each) => ['fetch', each] as const)];
  for (const key of S3_SETTINGS) if (settings[key] !== undefined) lines.push([key, `${settings[key]}`]);
  await editConfig(store.folder, store.rules, (text, path) => {
    const other = listRemotes(store).find((each) => each.name === name || excludeEachOther(each.name!, name));
    const before = withoutSection(`remote.${name}`)(text, path);
    if (other !== undefined || before !== text) throw taken(name, other?.name ?? name);
    return withSection('remote', name, lines)(text, path);
  });
  return { ...settings, name, url: kept, fetch, push: [], prune: false };
}

/**
 * Takes a remote out of the store's config, and removes its refs with their logs.
 * @throws ImgstoreError `NOT_FOUND`, `UNSUPPORTED` when it is in another config than the store's own, `BUSY`, `IO`
 */
export async function removeRemote(
  store: Store,
  name: string,
): Promise<{ readonly refs: readonly string[] }> {
  if (!store.config.own.some(({ key }) => KEY_PATTERN.exec(key)?.[1] === name)) {
    findRemote(store, name);
    throw new ImgstoreError(
      'UNSUPPORTED',
      `remote '${name}' is in another config than the store's own: find it with 'git config --show-origin --get-regexp remote'`,
      { name },
    );
  }
  if (lazyRemote(store.config) === name)
    throw new ImgstoreError(
      'USAGE',
      `remote '${name}' has the clusters of this lazy clone: make a whole clone of it first, and work with that`,
      { name },
    );
  const refs = await removeTracking(store, name);
  await editConfig(store.folder, store.rules, withoutSection(`remote.${name}`));
  await new BucketPlace(store, name).remove();
  return { refs };
}

/** Branches of the remote become `refs/remotes/<name>/…`, wherever they were before. */
export function defaultFetch(name: string): string {
  return `+refs/heads/*:${REMOTES}${name}/*`;
}

async function removeTracking(store: Store, name: string): Promise<string[]> {
  const prefix = `${REMOTES}${name}/`;
  const { refs, unreadable } = await store.refs.survey(prefix);
  const names = [...refs, ...unreadable].map((ref) => ref.name);
  const person = currentPerson('committer', store.config);
  // `…/HEAD` is symbolic, and goes before what it leads to.
  const symbolicFirst = names.sort((a, b) => Number(b.endsWith('/HEAD')) - Number(a.endsWith('/HEAD')));
  for (const ref of symbolicFirst)
    await store.refs.update({
      name: ref,
      before: undefined,
      after: NULL_ID,
      person,
      message: 'remote: removed',
    });
  return names;
}

/** As `git remote add` decides: by the ref names that would be made. @throws ImgstoreError `BAD_NAME`. */
function refuseName(name: string): void {
  const fault = name.startsWith('-') ? "begins with '-'" : refNameFault(`${REMOTES}${name}/x`);
  if (fault === undefined) return;
  throw new ImgstoreError('BAD_NAME', `'${name}' cannot name a remote: it ${fault}: choose another name`, {
    name,
  });
}

/** @throws ImgstoreError `USAGE` */
function refuseSettings(url: string, settings: RemoteSettings): void {
  const kind = checkUrl(url);
  for (const key of S3_SETTINGS) {
    const value = settings[key];
    if (value === undefined) continue;
    const option = `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    if (kind !== 's3')
      throw new ImgstoreError(
        'USAGE',
        `${option}: is for s3:// remotes, '${withoutCredentials(url)}' is none`,
        { option },
      );
    if (/[\x00-\x1f\x7f]/.test(`${value}`) || value === '')
      throw new ImgstoreError('USAGE', `${option}: is empty or has a control character in it`, { option });
  }
}

function taken(name: string, other: string): ImgstoreError {
  const message =
    other === name
      ? `remote '${name}' exists: choose another name, or run 'imgstore remote remove ${name}' first`
      : `remote '${name}' cannot be made beside '${other}': their refs would mix: choose another name`;
  return new ImgstoreError('EXISTS', message, { name, other });
}
