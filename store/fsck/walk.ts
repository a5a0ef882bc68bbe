import { setImmediate as breathe } from 'node:timers/promises';
import { isImgstoreError } from '../../errors/index.ts';
import {
  isFolder,
  type ObjectId,
  type ObjectType,
  parseCommit,
  parseTag,
  type TreeEntry,
} from '../../objects/index.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import { linkKind, treeLinks } from '../reach/tree-links.ts';
import { type ImageRecord, parseImageRecord } from '../version/image-json.ts';
import { DISKS_FOLDER, IMAGE_FILE } from '../version/version.ts';
import { ObjectFinder } from './finder.ts';
import type { Findings } from './findings.ts';
import { ObjectFlags } from './flags.ts';
import type { InventoryEntry } from './inventory.ts';
import { MapWalk, type Step, type TreeWalker } from './map-walk.ts';
import type { Root } from './roots.ts';
import type { Check } from './verify.ts';

/** Something leads to the object. */
const REACHED = 1;
/** All below a tree was walked. */
const WALKED = 2;
/** A tree was walked as that of a commit. */
const WALKED_AS_ROOT = 4;

/** Objects that are looked at between two chances for others to run. */
const OBJECTS_A_TURN = 256;

/** A commit that was walked. */
export interface WalkedVersion {
  readonly id: ObjectId;
  readonly tree: ObjectId;
  readonly parents: readonly ObjectId[];
}

/** A tree that is being walked, and how far. */
interface TreeFrame {
  readonly id: ObjectId;
  readonly entries: readonly TreeEntry[];
  next: number;
  dirty: boolean;
}

/**
 * Follows every root through commits, tags and trees, and notes what is missing, of the wrong kind, or not as `image.json` says. Each tree is walked once, so the time
 * is in proportion to the different objects, not to the versions.
 */
export class HistoryWalk implements TreeWalker {
  /** Commits that can be read. */
  readonly versions: WalkedVersion[] = [];
  /** Trees that are damaged or missing, or have something below them that is. Memory: that of what is wrong. */
  readonly dirty = new Set<ObjectId>();
  readonly findings: Findings;
  readonly finder: ObjectFinder;
  readonly #flags: ObjectFlags;
  readonly #monitor: Monitor;
  readonly #maps: MapWalk;
  #turn = 0;

  constructor({ inventory, store, findings, monitor }: Check) {
    this.findings = findings;
    this.#monitor = monitor;
    this.finder = new ObjectFinder(inventory, store.objects);
    this.#flags = new ObjectFlags(inventory.count);
    this.#maps = new MapWalk(this, inventory.count);
  }

  /** Objects of the inventory that something leads to. */
  get reached(): number {
    return this.#flags.count(REACHED);
  }

  /** Whether something leads to an object. */
  isReached(id: ObjectId): boolean {
    const entry = this.finder.find(id);
    return entry !== undefined && this.#flags.has(entry.number, REACHED);
  }

  async follow(roots: readonly Root[]): Promise<void> {
    const open: Step[] = [...roots].reverse().map((root) => ({
      id: root.id,
      // Whether it is of the kind that the ref needs is a matter of the ref.
      kind: undefined,
      neededBy: root.isLog ? `the reflog of ${root.name}` : root.name,
    }));
    for (let step = open.pop(); step !== undefined; step = open.pop()) {
      await this.breathe();
      const entry = this.finder.find(step.id);
      const type = entry?.object?.type;
      if (type === 'commit' || type === 'tag') open.push(...(await this.#enter(step, entry!, type)));
      else await this.walkTree(step);
    }
  }

  /**
   * Notes that an object is needed.
   * @returns undefined when it is missing, wholly damaged, or of another kind, which is then a finding
   */
  need({ id, kind, neededBy }: Step): InventoryEntry | undefined {
    const entry = this.finder.find(id);
    if (entry === undefined) {
      this.findings.absent(id, kind, neededBy);
      return undefined;
    }
    this.#flags.set(entry.number, REACHED);
    // Its copies are findings already.
    if (entry.object === undefined) {
      if (kind !== undefined) this.findings.wanted.set(id, kind);
      return undefined;
    }
    if (kind !== undefined && entry.object.type !== kind) {
      this.findings.problem(
        id,
        entry.object.type,
        `is a ${entry.object.type} where ${neededBy} needs a ${kind}`,
      );
      return undefined;
    }
    return entry;
  }

  isElsewhere(id: ObjectId): boolean {
    return this.finder.isElsewhere(id);
  }

  /** The entries of a tree; undefined when they cannot be read, which is a finding. */
  readTree(id: ObjectId): TreeEntry[] | undefined {
    const object = this.finder.read(id);
    if (object === undefined) {
      this.findings.absent(id, 'tree', 'a walk of its history');
      return undefined;
    }
    return this.parse(id, 'tree', () => treeLinks(object.data));
  }

  /** What an object says; undefined when it says nothing valid, which is a finding. */
  parse<T>(id: ObjectId, kind: ObjectType, parse: () => T): T | undefined {
    try {
      return parse();
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      this.findings.problem(id, kind, error.message);
      return undefined;
    }
  }

  async breathe(): Promise<void> {
    if (++this.#turn % OBJECTS_A_TURN !== 0) return;
    await breathe();
    throwIfStopped(this.#monitor);
  }

  /** Walks a tree that is no cluster map, with all below; anything else is only noted. Returns whether something is wrong with it. */
  async walkTree(step: Step): Promise<boolean> {
    const first = this.#open(step);
    if (typeof first === 'boolean') return first;
    const frames: TreeFrame[] = [first];
    for (;;) {
      const frame = frames.at(-1)!;
      const entry = frame.entries[frame.next++];
      if (entry === undefined) {
        frames.pop();
        if (frame.dirty) this.dirty.add(frame.id);
        const above = frames.at(-1);
        if (above === undefined) return frame.dirty;
        above.dirty ||= frame.dirty;
        continue;
      }
      await this.breathe();
      const below = this.#open({ id: entry.id, kind: linkKind(entry), neededBy: `tree ${frame.id}` });
      if (typeof below === 'boolean') frame.dirty ||= below;
      else frames.push(below);
    }
  }

  /** A tree to be walked, or, for what is none or was walked before, whether something is wrong with it. */
  #open(step: Step): TreeFrame | boolean {
    const { id } = step;
    if (step.kind === 'blob' && this.isElsewhere(id)) return false;
    const entry = this.need(step);
    if (entry === undefined) return true;
    if (entry.object!.type !== 'tree') return this.findings.problems.has(id);
    if (!this.#flags.set(entry.number, WALKED)) return this.dirty.has(id);
    const entries = this.readTree(id);
    if (entries !== undefined) return { id, entries, next: 0, dirty: this.findings.problems.has(id) };
    this.dirty.add(id);
    return true;
  }

  /** Reads a commit or tag and returns what it leads to. */
  async #enter(step: Step, { number }: InventoryEntry, type: 'commit' | 'tag'): Promise<Step[]> {
    const isNew = this.#flags.set(number, WALKED);
    const entry = this.need(step);
    const object = entry !== undefined && isNew ? this.finder.read(step.id) : undefined;
    if (object === undefined) return [];
    const neededBy = `${type} ${step.id}`;
    if (type === 'tag') {
      const tag = this.parse(step.id, 'tag', () => parseTag(object.data));
      return tag === undefined ? [] : [{ id: tag.object, kind: tag.type, neededBy }];
    }
    const commit = this.parse(step.id, 'commit', () => parseCommit(object.data));
    if (commit === undefined) return [];
    const { tree, parents } = commit;
    this.versions.push({ id: step.id, tree, parents });
    await this.#walkVersion({ id: tree, kind: 'tree', neededBy });
    return parents.map((id) => ({ id, kind: 'commit' as const, neededBy }));
  }

  /** Walks the tree of a commit: that of a version as `image.json` says it is. */
  async #walkVersion(step: Step): Promise<void> {
    const entry = this.need(step);
    if (entry === undefined) this.dirty.add(step.id);
    if (entry === undefined || !this.#flags.set(entry.number, WALKED_AS_ROOT)) return;
    const entries = this.readTree(step.id);
    if (entries === undefined) {
      this.dirty.add(step.id);
      return;
    }
    const neededBy = `tree ${step.id}`;
    const record = this.#readRecord(step.id, entries);
    let dirty = record === 'damaged' || this.findings.problems.has(step.id);
    for (const each of entries) {
      const below = { id: each.id, kind: linkKind(each), neededBy };
      const isDisks = each.name === DISKS_FOLDER && isFolder(each) && typeof record === 'object';
      const isWrong = isDisks ? await this.#walkDisks(below, record) : await this.walkTree(below);
      dirty ||= isWrong;
    }
    if (dirty) this.dirty.add(step.id);
  }

  /** Commits that imgstore did not make are no damage. */
  #readRecord(tree: ObjectId, entries: readonly TreeEntry[]): ImageRecord | 'damaged' | 'foreign' {
    const image = entries.find((each) => each.name === IMAGE_FILE && !isFolder(each));
    if (image === undefined) return 'foreign';
    const found = this.need({ id: image.id, kind: 'blob', neededBy: `tree ${tree}` });
    const object = found === undefined ? undefined : this.finder.read(image.id);
    if (object === undefined) return 'damaged';
    try {
      return parseImageRecord(object.data);
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      if (error.code === 'UNSUPPORTED') {
        this.findings.notice(`tree ${tree}: ${error.message} to check its disks`);
        return 'foreign';
      }
      this.findings.problem(image.id, 'blob', error.message);
      return 'damaged';
    }
  }

  async #walkDisks(step: Step, { disks, clusterSize }: ImageRecord): Promise<boolean> {
    const entries = this.need(step) === undefined ? undefined : this.readTree(step.id);
    if (entries === undefined) return true;
    let dirty = this.findings.problems.has(step.id);
    for (const each of entries) {
      const disk = isFolder(each) && Object.hasOwn(disks, each.name) ? disks[each.name] : undefined;
      const below = { id: each.id, kind: linkKind(each), neededBy: `tree ${step.id}` };
      if (disk === undefined)
        this.findings.problem(step.id, 'tree', `'${each.name}' is not in ${IMAGE_FILE}`);
      const isWrong =
        disk === undefined
          ? (await this.walkTree(below)) || true
          : await this.#maps.walk(each.id, { ...disk, clusterSize }, below.neededBy);
      dirty ||= isWrong;
    }
    if (dirty) this.dirty.add(step.id);
    return dirty;
  }
}
