import { parseQmpAddress } from '../../nbd/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { untrustedBitmap } from '../commit/known-disk.ts';
import { defaultBranch, sourceTitle } from '../commit/names.ts';
import { bitmapContext } from '../commit/nbd-bitmap.ts';
import { type CommitResult, type NamedDisk, refuseBadNames } from '../commit/store-version.ts';
import { originKey } from '../origin/key.ts';
import type { Monitor as Watcher } from '../progress.ts';
import { BRANCHES, fullRefName } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { BitmapChange, settle, trustedLive } from './bitmaps.ts';
import { findDisks, type LiveDisk } from './find-disks.ts';
import { thawAnew, whileFrozen } from './freeze.ts';
import { lookAtImage } from './image-file.ts';
import { type HeldLive, Instant } from './instant.ts';
import { removeLeftovers } from './leftovers.ts';
import { knownLive, openLiveDisk } from './live-disk.ts';
import { Monitor } from './monitor.ts';
import { refuseThreads } from './refuse-threads.ts';
import { type RunningCommitRequest, storeMoment } from './running-commit.ts';
import { scratchPlace } from './scratch.ts';

/** How to make a version of a machine that runs. */
export interface LiveCommitRequest extends RunningCommitRequest {
  /** Of QEMU's monitor: path of its socket, or `HOST:PORT`. */
  readonly qmp: string;
  /** Of the guest agent, by which file systems are frozen at the moment. */
  readonly agent?: string | undefined;
  /** The first disk's file name without its ending when not given. */
  readonly branch?: string | undefined;
}

/**
 * Stores a version of a machine while it runs: all its disks as they were at one moment. Of a qcow2 only what was written since the last
 * version is read, by a dirty bitmap that QEMU keeps, as `commit --track` has it.
 * @throws ImgstoreError `QMP`, `NBD`, `BUSY` while another commit of the machine runs, `IN_USE` when its NBD server is, and what `commitVersion` throws
 */
export async function commitMachine(
  store: Store,
  request: LiveCommitRequest,
  watcher: Watcher = {},
): Promise<CommitResult> {
  const started = performance.now();
  const monitor = await Monitor.connect(parseQmpAddress(request.qmp), request.qmp);
  try {
    const wasKilled = await removeLeftovers(monitor);
    if (wasKilled && request.agent !== undefined)
      await thawAnew(request.agent, (notice) => watcher.onNotice?.(notice));
    const result = await new LiveCommit(store, request, watcher, monitor).run();
    return { ...result, seconds: (performance.now() - started) / 1000 };
  } finally {
    monitor.close();
  }
}

/** One commit of a machine. */
class LiveCommit {
  readonly #store: Store;
  readonly #request: LiveCommitRequest;
  readonly #watcher: Watcher;
  readonly #monitor: Monitor;

  constructor(store: Store, request: LiveCommitRequest, watcher: Watcher, monitor: Monitor) {
    this.#store = store;
    this.#request = request;
    this.#watcher = watcher;
    this.#monitor = monitor;
  }

  async run(): Promise<Omit<CommitResult, 'seconds'>> {
    const [store, request] = [this.#store, this.#request];
    const disks = await this.#settledDisks();
    const titles = disks.map(({ node }) => node.file || node.name);
    const ref = fullRefName(BRANCHES, request.branch ?? defaultBranch(titles[0]!));
    refuseBadNames(disks, request.attachments);
    const message = request.message ?? `Store ${titles.map(sourceTitle).join(', ')}`;
    const steps = {
      hold: (tip: ObjectId | undefined) => this.#hold(disks, tip),
      open: (instant: Instant) => this.#open(instant),
    };
    return storeMoment(store, { ...request, ref, message }, steps, this.#watcher);
  }

  /** The disks, when what a killed commit has left in their bitmaps is in order. */
  async #settledDisks(): Promise<LiveDisk[]> {
    const disks = await findDisks(this.#monitor, this.#request.nodes ?? []);
    await refuseThreads(this.#monitor, disks);
    const key = await originKey(this.#store);
    const actions = key === undefined ? [] : disks.flatMap((disk) => settle(disk, key));
    if (actions.length === 0) return disks;
    await this.#monitor.transaction(actions);
    return findDisks(this.#monitor, this.#request.nodes ?? []);
  }

  /** Finds out what is known of a disk before it is held. */
  async #look(disk: LiveDisk, tip: ObjectId | undefined): Promise<HeldLive> {
    const image = await lookAtImage(disk.node, this.#request.allowBacking);
    const key = await originKey(this.#store);
    const untracked = image.untracked ?? (key === undefined ? 'the store cannot be written to' : undefined);
    const none = { ...disk, image, trusted: undefined, change: undefined };
    if (untracked !== undefined) {
      this.#notice(`disk ${disk.name}: the next commit will read all of it: ${untracked}`);
      return none;
    }
    const trusted = await trustedLive(this.#store, disk.node.bitmaps, image, tip);
    if (typeof trusted !== 'string') {
      return { ...none, trusted, change: new BitmapChange(disk, key!, trusted?.bitmap.name) };
    }
    this.#notice(`disk ${disk.name}: ${untrustedBitmap(trusted)}`);
    return { ...none, change: new BitmapChange(disk, key!, undefined) };
  }

  async #hold(disks: readonly LiveDisk[], tip: ObjectId | undefined): Promise<Instant> {
    const { scratch, agent } = this.#request;
    const held: HeldLive[] = [];
    for (const disk of disks) held.push(await this.#look(disk, tip));
    const place = await scratchPlace(held, scratch, this.#monitor.label);
    await this.#monitor.transaction(held.flatMap(({ change, node }) => change?.clear(node.bitmaps) ?? []));
    const onNotice = (notice: string) => this.#notice(notice);
    return Instant.hold(this.#monitor, held, {
      ...place,
      granularity: this.#store.clusterSize,
      atOnce: (hold) => (agent === undefined ? hold() : whileFrozen(agent, hold, onNotice)),
      onNotice,
    });
  }

  async #open(instant: Instant): Promise<NamedDisk[]> {
    const named: NamedDisk[] = [];
    for (const [i, { name, node, image, trusted }] of instant.disks.entries()) {
      const source = instant.sources[i]!;
      const disk = openLiveDisk(node.file || node.name, source, image.facts, () => instant.refuseLost());
      const bitmap = trusted && { trusted, name: bitmapContext(trusted.bitmap.name) };
      const onDoubt = (doubt: string) => this.#notice(`disk ${name}: ${untrustedBitmap(doubt)}`);
      named.push({ name, disk, known: await knownLive(this.#store, source, bitmap, onDoubt) });
    }
    return named;
  }

  #notice(text: string): void {
    this.#watcher.onNotice?.(`${this.#request.qmp}: ${text}`);
  }
}
