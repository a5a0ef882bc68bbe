import type { BlockSource } from '../../block/index.ts';
import { counted, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { NULL_ID, type ObjectId } from '../../objects/index.ts';
import type { HeldDisk } from '../commit/disk-map.ts';
import { heldDisk, type KnownBase } from '../commit/known-disk.ts';
import type { OpenChain } from '../commit/open-chain.ts';
import { type StoredDisk, storeDisk } from '../commit/store-disk.ts';
import { writeVersion } from '../commit/write-version.ts';
import type { ObjectTransaction } from '../objects/transaction.ts';
import { currentPerson } from '../person.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import { moveHead } from '../refs/edit.ts';
import { shortRefName, TAGS } from '../refs/name.ts';
import type { RefUpdate } from '../refs/refs.ts';
import type { KnownFile, KnownFiles } from '../stat-cache.ts';
import type { Store } from '../store.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { messageOf, titleOf } from './describe.ts';
import type { ImportedVersion } from './imported-version.ts';
import { contentKey, Lineage } from './lineage.ts';
import { beside, type DiskState } from './states.ts';
import { refuseOther, type SnapshotTag } from './tags.ts';

export interface RunOptions {
  /** The branch's full name. */
  readonly ref: string;
  readonly tip: ObjectId | undefined;
  /** The disk's name. */
  readonly disk: string;
  readonly message: string | undefined;
  /** What is known of the disks below the first state. */
  readonly base: KnownBase | undefined;
}

/** What an import is to store. */
export interface ImportPlan {
  readonly store: Store;
  /** Open, and the caller's to close. */
  readonly chain: OpenChain;
  /** Oldest first. */
  readonly states: readonly DiskState[];
  readonly tags: readonly SnapshotTag[];
  readonly options: RunOptions;
}

/** Stat cache entries are written at least so often: opening the database for each snapshot would take longer than its commit. */
const REMEMBER_EVERY_MS = 2000;

/** One import on its way: state after state. */
export class ImportRun {
  readonly #store: Store;
  readonly #chain: OpenChain;
  readonly #states: readonly DiskState[];
  readonly #tags: ReadonlyMap<DiskState, SnapshotTag>;
  readonly #options: RunOptions;
  readonly #monitor: Monitor;
  readonly #known: readonly (KnownFile | undefined)[];
  readonly #lineage: Lineage;
  readonly #workers: ClusterWorkers;
  /** Says to `gc`, until all refs have moved, that objects are being stored. */
  readonly #announced: ObjectTransaction;
  /** Where the branch is. */
  #branchAt: ObjectId | undefined;
  /** Moves of refs that wait until every tag that is there has turned out to mean its snapshot. */
  #moves: RefUpdate[] = [];
  #unproven: number;
  #moved = 0;
  #learnt: { files: KnownFiles; known: KnownFile }[] = [];
  #rememberedMs = performance.now();
  /** Bytes that were read of the states before. */
  #readBytes = 0;
  readonly #expectedBytes: number;
  /** The last state, and its disk in the store. */
  #last: { readonly state: DiskState; readonly held: HeldDisk } | undefined;
  #open: { readonly state: DiskState; readonly source: BlockSource } | undefined;

  private constructor(
    { store, chain, states, tags, options }: ImportPlan,
    monitor: Monitor,
    known: readonly (KnownFile | undefined)[],
  ) {
    this.#store = store;
    this.#chain = chain;
    this.#states = states;
    this.#tags = new Map(tags.map((tag) => [tag.state, tag]));
    this.#options = options;
    this.#monitor = monitor;
    this.#known = known;
    this.#lineage = new Lineage(store, options.tip, options.base?.version);
    this.#branchAt = options.tip;
    this.#unproven = tags.filter(({ taken }) => taken !== undefined).length;
    this.#expectedBytes = states.reduce(
      (sum, { expectedBytes }, i) => sum + (known[i] === undefined ? expectedBytes : 0),
      0,
    );
    this.#workers = new ClusterWorkers(this.#expectedBytes);
    this.#announced = store.begin();
  }

  static async begin(plan: ImportPlan, monitor: Monitor): Promise<ImportRun> {
    const { store, states } = plan;
    const asked = states.flatMap(({ files }) => files ?? []);
    const found = asked.length < states.length ? [] : await store.statCache.getAll(asked);
    const known = states.map((_, i) => found[i]);
    return new ImportRun(plan, monitor, known);
  }

  /** @throws ImgstoreError as `importImage` does */
  async importAll(): Promise<ImportedVersion[]> {
    try {
      const versions: ImportedVersion[] = [];
      for (const [i, state] of this.#states.entries())
        versions.push(await this.#import(state, this.#known[i]));
      return versions;
    } catch (error) {
      if (this.#moved === 0 || !isImgstoreError(error, 'INTERRUPTED')) throw error;
      const done = `interrupted: ${counted(this.#moved, 'ref leads', 'refs lead')} to what was stored so far: run it again for the rest`;
      throw new ImgstoreError('INTERRUPTED', done, error.data, error);
    }
  }

  async end(): Promise<void> {
    await this.#remember();
    await this.#announced.discard();
    await this.#workers.close();
  }

  async #import(state: DiskState, known: KnownFile | undefined): Promise<ImportedVersion> {
    throwIfStopped(this.#monitor);
    const { disk: name, ref } = this.#options;
    const tag = this.#tags.get(state);
    const transaction = this.#store.begin();
    try {
      const disk = await this.#storeState(state, known, transaction);
      await this.#chain.refuseChanged();
      const { clusterSize } = this.#store;
      const key = contentKey({ name, virtualSize: disk.virtualSize, clusterSize, map: disk.map.id });
      // Disks of zeros are copies of nothing.
      const there = await this.#lineage.find(key, disk.clusters > 0);
      const commit = there ?? (await this.#write(state, disk, tag, transaction));
      if (tag !== undefined) refuseOther(this.#store, tag, commit, key);
      // Also of a version that is there: what the store has lost comes back this way.
      if (transaction.newObjects > 0) await transaction.publish();
      if (there === undefined) this.#lineage.add(commit, key);
      await this.#lead(state, commit, tag);
      this.#last = { state, held: disk };
      if (state.files !== undefined)
        this.#learnt.push({ files: state.files, known: { commit, disk: name, clusters: disk.clusters } });
      if (performance.now() - this.#rememberedMs > REMEMBER_EVERY_MS) await this.#remember();
      const { file, snapshot } = state;
      return {
        commit,
        branch: shortRefName(ref),
        tag: tag?.name,
        source: { file, snapshot: snapshot?.name, vmStateSize: snapshot?.vmStateSize ?? 0 },
        virtualSize: disk.virtualSize,
        clusters: disk.clusters,
        newClusters: disk.newClusters,
        readBytes: disk.readBytes,
        newObjects: transaction.newObjects,
        storedBytes: transaction.storedBytes,
        unchanged: there !== undefined,
      };
    } finally {
      await transaction.discard();
    }
  }

  async #storeState(
    state: DiskState,
    known: KnownFile | undefined,
    transaction: ObjectTransaction,
  ): Promise<StoredDisk> {
    const { disk: name } = this.#options;
    const held = await heldDisk(this.#store, known, state.virtualSize);
    if (held !== undefined) return { name, ...held, newClusters: 0, readBytes: 0 };
    // Of the state before only tables are read, if anything.
    const before = this.#last === undefined ? undefined : await this.#openState(this.#last.state);
    const source = await this.#openState(state);
    const basis = this.#basisOf(source, before);
    const readBefore = this.#readBytes;
    const monitor: Monitor = {
      ...this.#monitor,
      onProgress: ({ done }) => {
        const all = readBefore + done;
        this.#monitor.onProgress?.({ done: all, total: Math.max(all, this.#expectedBytes) });
      },
    };
    const storing = { store: this.#store, transaction, workers: this.#workers, monitor };
    const disk = await storeDisk(name, source, { held, basis, expectedBytes: state.expectedBytes }, storing);
    this.#readBytes += disk.readBytes;
    return disk;
  }

  #basisOf(source: BlockSource, before: BlockSource | undefined) {
    const [held, below] =
      this.#last === undefined
        ? [this.#options.base?.held, this.#options.base?.source]
        : [this.#last.held, before];
    if (held === undefined || below === undefined) return undefined;
    const extents = () => beside(source, below);
    return { held, extents };
  }

  async #openState(state: DiskState): Promise<BlockSource> {
    if (this.#open?.state !== state) this.#open = { state, source: await state.open() };
    return this.#open.source;
  }

  async #write(
    state: DiskState,
    disk: StoredDisk,
    tag: SnapshotTag | undefined,
    transaction: ObjectTransaction,
  ): Promise<ObjectId> {
    const made = await writeVersion(
      this.#store.config,
      {
        content: { clusterSize: this.#store.clusterSize, disks: [disk], files: [] },
        facts: [state.facts],
        parent: this.#lineage.tip,
        message: messageOf(state, this.#options.message, tag?.name),
        authoredSeconds: state.dateSeconds,
      },
      transaction,
    );
    return made.commit;
  }

  /** Makes the branch and the tag lead to a version, as soon as that may be. */
  async #lead(state: DiskState, commit: ObjectId, tag: SnapshotTag | undefined): Promise<void> {
    const person = currentPerson('committer', this.#store.config);
    const message = `import: ${titleOf(state)}`;
    const { tip } = this.#lineage;
    if (tip !== undefined && tip !== this.#branchAt) {
      this.#moves.push({
        name: this.#options.ref,
        before: this.#branchAt ?? NULL_ID,
        after: tip,
        person,
        message,
      });
      this.#branchAt = tip;
    }
    if (tag?.taken !== undefined) this.#unproven--;
    else if (tag !== undefined)
      this.#moves.push({ name: TAGS + tag.name, before: NULL_ID, after: commit, person, message });
    if (this.#unproven > 0) return;
    for (const move of this.#moves.splice(0)) {
      await this.#store.refs.update(move);
      this.#moved++;
    }
    await moveHead(this.#store, this.#options.ref, this.#monitor);
  }

  async #remember(): Promise<void> {
    await this.#store.statCache.putAll(this.#chain.watched.lookedNs, this.#learnt.splice(0));
    this.#rememberedMs = performance.now();
  }
}
