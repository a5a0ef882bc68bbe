import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { NbdExport, NbdExports } from '../../nbd/index.ts';
import { MapLookup, type ObjectId, subject } from '../../objects/index.ts';
import { findTips } from '../history/tips.ts';
import { shortRefName, VERSION_REFS } from '../refs/name.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { findDisk, readVersion, tryReadVersion, type Version, type VersionDisk } from '../version/version.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { CachedDisk } from './cached-disk.ts';
import { ClusterCache } from './cluster-cache.ts';
import { parseExportName } from './export-uri.ts';
import type { Sessions } from './session/sessions.ts';
import { VersionExport } from './version-export.ts';

/** Whoever opens a name so soon after another gets the same version: a client may come with several connections, while the branch moves. */
const SAME_VERSION_MS = 10_000;

/** What the empty name means when there are several exports. */
const DEFAULT_REVISION = 'HEAD';

const IDLE_MS = 60_000;

export interface RevisionExportsOptions {
  /** What alone is served; every revision when there is none. */
  readonly revisions: readonly string[];
  /** Clusters that are kept in memory, in bytes; of each size that clusters have. */
  readonly cacheBytes: number;
}

/** Versions as NBD exports: each by any revision that names it, with `:DISK` behind that where a version has several disks. */
export class RevisionExports implements NbdExports {
  readonly #store: Store;
  readonly #revisions: readonly string[];
  readonly #workers: ClusterWorkers;
  /** Of each cache. */
  readonly #cacheBytes: number;
  /** By the size of clusters: a cache has room for those of one size. Stores have versions of more than one when that was changed. */
  readonly #caches = new Map<number, ClusterCache>();
  readonly #maps: MapLookup;
  #sessions: Sessions | undefined;
  readonly #opened = new Map<string, { readonly commit: ObjectId; readonly ms: number }>();

  constructor(store: Store, workers: ClusterWorkers, { revisions, cacheBytes }: RevisionExportsOptions) {
    this.#store = store;
    this.#revisions = revisions;
    this.#workers = workers;
    this.#cacheBytes = cacheBytes;
    this.#maps = new MapLookup((id) => store.objects.readAs('tree', id));
  }

  async *list(): AsyncGenerator<{ readonly name: string; readonly description: string }> {
    for (const name of await this.#names()) {
      const version = await this.#tryVersion(name);
      if (version === undefined) continue;
      const description = describe(version);
      if (version.disks.length === 1) yield { name, description };
      else for (const disk of version.disks) yield { name: `${name}:${disk.name}`, description };
    }
  }

  /** @throws ImgstoreError as reading the version does; `USAGE` where it has several disks and none is named */
  async open(asked: string): Promise<NbdExport | undefined> {
    const name = asked === '' ? this.#defaultName() : asked;
    const { revision, disk: diskName } = parseExportName(name);
    if (this.#revisions.length > 0 && !this.#revisions.includes(revision)) return undefined;
    const writable = await this.#sessions?.export(name);
    if (writable !== undefined) return writable;
    const commit = await this.#commitOf(revision);
    if (commit === undefined) return undefined;
    const version = readVersion(this.#store.objects, commit);
    const disk = chosenDisk(version, diskName);
    const reading = this.#store.announceReading([commit]);
    return new VersionExport(this.diskOf(disk), {
      name,
      description: describe(version),
      onRelease: () => reading?.withdraw(),
    });
  }

  /** Finds out early what cannot be served. @throws ImgstoreError as resolving and reading the versions that were named does */
  async refuseMissing(): Promise<void> {
    for (const revision of this.#revisions)
      readVersion(this.#store.objects, await resolveCommit(this.#store, revision));
  }

  /** Lets branches be written to. */
  serveSessions(sessions: Sessions): void {
    this.#sessions = sessions;
  }

  /** A disk, read through the cache of all exports with clusters of its size. */
  diskOf(disk: VersionDisk): CachedDisk {
    const { objects } = this.#store;
    return new CachedDisk({ objects, cache: this.#cacheFor(disk.clusterSize), maps: this.#maps }, disk);
  }

  /** Gives back the memory. */
  close(): void {
    for (const cache of this.#caches.values()) cache.close();
    this.#maps.clear();
  }

  #cacheFor(clusterSize: number): ClusterCache {
    const there = this.#caches.get(clusterSize);
    if (there !== undefined) return there;
    const options = { clusterSize, mostBytes: this.#cacheBytes, idleMs: IDLE_MS };
    const cache = new ClusterCache(this.#store.objects, this.#workers, options);
    this.#caches.set(clusterSize, cache);
    return cache;
  }

  async #names(): Promise<readonly string[]> {
    if (this.#revisions.length > 0) return this.#revisions;
    const { tips } = await findTips(this.#store, ...VERSION_REFS);
    return tips.map(({ name }) => shortRefName(name));
  }

  async #tryVersion(name: string): Promise<Version | undefined> {
    try {
      return tryReadVersion(this.#store.objects, await resolveCommit(this.#store, name));
    } catch (error) {
      if (isImgstoreError(error)) return undefined;
      throw error;
    }
  }

  #defaultName(): string {
    const [only, ...more] = this.#revisions;
    return only !== undefined && more.length === 0 ? only : DEFAULT_REVISION;
  }

  /** Undefined for what is not there. */
  async #commitOf(revision: string): Promise<ObjectId | undefined> {
    const now = performance.now();
    const before = this.#opened.get(revision);
    if (before !== undefined && now - before.ms < SAME_VERSION_MS) return before.commit;
    try {
      const commit = await resolveCommit(this.#store, revision);
      for (const [name, { ms }] of this.#opened) if (now - ms >= SAME_VERSION_MS) this.#opened.delete(name);
      this.#opened.set(revision, { commit, ms: now });
      return commit;
    } catch (error) {
      if (isImgstoreError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }
}

function chosenDisk(version: Version, name: string | undefined) {
  if (name === undefined && version.disks.length > 1) {
    const names = version.disks.map((disk) => disk.name).join(', ');
    const message = `version ${version.id.slice(0, 12)} has the disks ${names}: name one behind a colon`;
    throw new ImgstoreError('USAGE', message, { disks: names });
  }
  return findDisk(version, name);
}

function describe({ id, commit }: Version): string {
  return `${id.slice(0, 12)} ${subject(commit.message)}`;
}
