import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { allDone, type BlockSource, InPlaceFile } from '../../../block/index.ts';
import { counted, ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import { syncFolder } from '../../../files/index.ts';
import { type NbdAddress, type NbdExport, nbdUri } from '../../../nbd/index.ts';
import { branchTip } from '../../history/tips.ts';
import type { Monitor } from '../../progress.ts';
import { BRANCHES, refNameFault } from '../../refs/name.ts';
import type { Store } from '../../store.ts';
import { DiskSource } from '../../version/disk-source.ts';
import { findDisk, readVersion, type VersionDisk } from '../../version/version.ts';
import { exportNameOf, parseExportName } from '../export-uri.ts';
import { commitSession, type SessionCommit, type SessionCommitRequest } from './commit-session.ts';
import type { SessionPlaces } from './names.ts';
import { makeOverlay, openOverlay, readOverlay, unfitFor } from './overlay-file.ts';
import { OverlayFolder } from './overlay-folder.ts';
import { Session } from './session.ts';
import { SessionRefs } from './session-refs.ts';
import { type SessionState, stateOf, stateOfFile } from './session-state.ts';
import { UnbegunSession } from './unbegun-session.ts';

export interface SessionsOptions {
  /** Where overlays are; `imgstore/sessions` in the store when not given. */
  readonly overlays?: string | undefined;
  /**
   * Where the server listens, which overlays name as what they stand on: for QEMU, when no session has them open. Undefined for who does not serve: overlays then say what they said before,
   * and none can be made.
   */
  readonly address: NbdAddress | undefined;
  /** Opens a version's disk; without a cache when not given. */
  readonly openBase?: ((disk: VersionDisk) => BlockSource) | undefined;
  readonly onNotice?: ((notice: string) => void) | undefined;
}

/** The exports of a store that can be written to: one for each branch, or for each disk of a branch with several. */
export class Sessions {
  readonly #store: Store;
  readonly #options: SessionsOptions;
  readonly #overlays: OverlayFolder;
  readonly #open = new Map<string, Session>();
  /** Branches that clients have open, and that nobody has written to. */
  readonly #unbegun = new Map<string, UnbegunSession>();
  #turn: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  private constructor(store: Store, options: SessionsOptions, overlays: OverlayFolder) {
    this.#store = store;
    this.#options = options;
    this.#overlays = overlays;
  }

  /** Opens no overlay yet. Who does not serve makes no folder either: where there is none, there are no sessions. @throws ImgstoreError `IO` when there is no folder for overlays, and it cannot be made */
  static async open(store: Store, options: SessionsOptions): Promise<Sessions> {
    const { overlays, address } = options;
    const folder = await OverlayFolder.open(store, overlays, { mayMake: address !== undefined });
    return new Sessions(store, options, folder);
  }

  /**
   * The disk of a branch for one connection, with what was written before. Where nothing was, a session begins with the first write.
   * @param name a branch, or `BRANCH:DISK`
   * @returns undefined for what is no branch, and for a disk that no session can have: they cannot be written to
   * @throws ImgstoreError `USAGE` when the version has several disks and none is named; `IN_USE`, `BAD_IMAGE`, `UNSUPPORTED`, `DAMAGED`, `IO`
   */
  async export(name: string): Promise<NbdExport | undefined> {
    return this.#inTurn(() => this.#openExport(name));
  }

  /** All sessions: those that are open, and overlays that were left. */
  async list(): Promise<readonly SessionState[]> {
    return this.#inTurn(async () => {
      const names = new Set([...(await this.#overlays.names()), ...this.#open.keys()]);
      const states: SessionState[] = [];
      for (const name of [...names].sort()) {
        const session = this.#open.get(name);
        const state = session === undefined ? await this.#stateOfFile(name) : await stateOf(session);
        if (state !== undefined) states.push(state);
      }
      return states;
    });
  }

  /** Commits a session, also one that no client has opened. @throws ImgstoreError `NOT_FOUND`, and as {@link commitSession} */
  async commit(
    name: string,
    request: SessionCommitRequest = {},
    monitor: Monitor = {},
  ): Promise<SessionCommit> {
    const session = await this.#inTurn(async () => this.#open.get(name) ?? (await this.#reopen(name)));
    if (session === undefined) throw noSession(name);
    return commitSession(this.#store, session, request, monitor);
  }

  /**
   * Throws away what was written, with the overlay. Versions that were committed stay.
   * @throws ImgstoreError `NOT_FOUND`; `IN_USE` while clients are connected, unless forced, or while somebody else has the overlay open
   */
  async discard(name: string, { force = false } = {}): Promise<void> {
    await this.#inTurn(async () => {
      const session = this.#open.get(name);
      const places = session?.places ?? (await this.#overlays.find(name));
      if (places === undefined) throw noSession(name);
      if (session === undefined) await (await InPlaceFile.open(places.overlay)).close();
      else await session.exclusively(() => this.#letGo(session, force));
      await rm(places.overlay, { force: true });
      await syncFolder('overlay', dirname(places.overlay));
      await this.#refs(places).remove();
    });
  }

  /** Flushes and closes all; connections have been released before. @throws ImgstoreError `IO` when something that was written last is lost */
  async close(): Promise<void> {
    await this.#inTurn(async () => {
      this.#isClosed = true;
      const all = [...this.#open.values()];
      this.#open.clear();
      await allDone(all.map((session) => session.exclusively(() => session.disk.close())));
    });
  }

  async #letGo(session: Session, force: boolean): Promise<void> {
    const { name, connections } = session;
    if (connections > 0 && !force)
      throw new ImgstoreError(
        'IN_USE',
        `session '${name}' has ${counted(connections, 'client')}: stop what uses it, or pass --force`,
        { name, connections },
      );
    this.#open.delete(name);
    await session.disk.close();
  }

  async #openExport(name: string): Promise<NbdExport | undefined> {
    this.#refuseClosed(name);
    const there = this.#open.get(name) ?? this.#unbegun.get(name) ?? (await this.#reopen(name));
    // Nothing is waited for before it is opened: what nobody has open goes.
    if (there !== undefined) return there.open();
    const { revision: branch, disk: diskName } = parseExportName(name);
    if (branch === '' || this.#options.address === undefined || refNameFault(BRANCHES + branch) !== undefined)
      return undefined;
    const tip = await branchTip(this.#store, BRANCHES + branch);
    if (tip === undefined) return undefined;
    const version = readVersion(this.#store.objects, tip);
    const base = findDisk(version, diskName);
    // The only disk of a version needs no name, and must not have a second session by it.
    if (diskName !== undefined && version.disks.length === 1) return this.#openExport(branch);
    return unfitFor(this.#store, base) === undefined ? this.#unbegunOn(name, base).open() : undefined;
  }

  #unbegunOn(name: string, base: VersionDisk): UnbegunSession {
    // Found out before anybody relies on being able to write.
    this.#overlays.placesOf(name);
    const reading = this.#store.announceReading([base.version]);
    const unbegun = new UnbegunSession({
      name,
      base,
      source: this.#openBase(base),
      begin: () => this.#inTurn(() => this.#make(name, base)),
      onEnd: () => {
        this.#unbegun.delete(name);
        reading?.withdraw();
      },
    });
    this.#unbegun.set(name, unbegun);
    return unbegun;
  }

  async #make(name: string, base: VersionDisk): Promise<Session> {
    this.#refuseClosed(name);
    const places = this.#overlays.placesOf(name);
    if ((await this.#overlays.find(name)) !== undefined) throw begunElsewhere(name, places);
    // First what keeps the version, then what stands on it.
    const refs = this.#refs(places);
    await refs.begin(base.version);
    const source = this.#openBase(base);
    try {
      await makeOverlay(this.#store, places.overlay, { base, source, backing: this.#backingName(base)! });
    } catch (error) {
      // Unless another server has made it, there is nothing to discard by which they would ever go.
      if ((await this.#overlays.find(name)) === undefined) await refs.remove();
      throw error;
    }
    const session = await this.#reopen(name);
    if (session === undefined) throw noSession(name);
    // The one cluster that it has is as in the base.
    session.disk.freeze().end(true);
    return session;
  }

  /** Goes on with an overlay that is there; undefined when there is none. */
  async #reopen(name: string): Promise<Session | undefined> {
    const places = await this.#overlays.find(name);
    if (places === undefined) return undefined;
    const options = {
      openSource: (disk: VersionDisk) => this.#openBase(disk),
      backingName: this.#backingName,
    };
    const { disk, base } = await openOverlay(this.#store, places.overlay, options);
    try {
      const { revision: branch } = parseExportName(name);
      const refs = this.#refs(places);
      await refs.keepBase(base.version);
      const last = await refs.lastOn(base);
      const session = new Session({ name, branch, places, base, disk, last });
      this.#open.set(name, session);
      return session;
    } catch (error) {
      await disk.close();
      throw error;
    }
  }

  async #stateOfFile(name: string): Promise<SessionState | undefined> {
    const places = this.#overlays.placesOf(name);
    try {
      const { base } = await readOverlay(this.#store, places.overlay);
      return await stateOfFile({ name, places, base, last: await this.#refs(places).lastOn(base) });
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      this.#options.onNotice?.(error.message);
      return undefined;
    }
  }

  #refs(places: SessionPlaces): SessionRefs {
    return new SessionRefs(this.#store, places);
  }

  #openBase(disk: VersionDisk): BlockSource {
    return this.#options.openBase?.(disk) ?? new DiskSource(this.#store.objects, disk);
  }

  #refuseClosed(name: string): void {
    if (this.#isClosed) throw new ImgstoreError('IN_USE', `session '${name}': the server is shutting down`);
  }

  readonly #backingName = (disk: VersionDisk): string | undefined => {
    const { address } = this.#options;
    if (address === undefined) return undefined;
    const exportName = exportNameOf(readVersion(this.#store.objects, disk.version), disk);
    return nbdUri({ address, exportName });
  };

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }
}

function noSession(name: string): ImgstoreError {
  return new ImgstoreError('NOT_FOUND', `no session '${name}': see 'imgstore session'`, { name });
}

function begunElsewhere(name: string, { overlay }: SessionPlaces): ImgstoreError {
  return new ImgstoreError(
    'IN_USE',
    `${overlay}: another server has begun session '${name}' meanwhile: connect again`,
    { name, path: overlay },
  );
}
