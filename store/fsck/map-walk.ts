import {
  clusterCount,
  clustersPerSlot,
  FAN_OUT,
  type ObjectId,
  type ObjectType,
  type TreeEntry,
} from '../../objects/index.ts';
import { linkKind } from '../reach/tree-links.ts';
import type { Findings } from './findings.ts';
import { ObjectFlags } from './flags.ts';
import type { InventoryEntry } from './inventory.ts';

/** An object on the way of a walk. */
export interface Step {
  readonly id: ObjectId;
  /** Undefined for any. */
  readonly kind: ObjectType | undefined;
  /** What names it, for the finding. */
  readonly neededBy: string;
}

/** What a walk of cluster maps shares with that of the whole history. */
export interface TreeWalker {
  readonly findings: Findings;
  /** Trees that are damaged or missing, or have something below them that is. Memory: that of what is wrong. */
  readonly dirty: Set<ObjectId>;
  /**
   * Notes that an object is needed.
   * @returns undefined when it is missing, wholly damaged, or of another kind, which is then a finding
   */
  need(step: Step): InventoryEntry | undefined;
  /** Whether a cluster is one that a lazy clone has not, nor needs to have. */
  isElsewhere(id: ObjectId): boolean;
  /** The entries of a tree; undefined when they cannot be read, which is a finding. */
  readTree(id: ObjectId): TreeEntry[] | undefined;
  /** Walks what is no cluster map. Returns whether something is wrong with it. */
  walkTree(step: Step): Promise<boolean>;
  /** To be called for each object: gives others a chance to run. @throws ImgstoreError `INTERRUPTED` */
  breathe(): Promise<void>;
}

/** What `image.json` says of a disk; sizes in bytes. */
export interface DiskShape {
  readonly virtualSize: number;
  readonly clusterSize: number;
  readonly levels: number;
}

/** The part of a disk that a node of a map stands for. */
interface NodePlace {
  readonly level: number;
  readonly clusterSize: number;
  /** Clusters of the disk from the node's first one on. */
  readonly clusters: number;
  /** Bytes of the disk's last cluster. */
  readonly lastBytes: number;
  readonly isRoot: boolean;
}

const SLOT_PATTERN = /^[0-9a-f]{2}$/;

/** A flag for each level at which a node was walked, from 1 up. */
const levelFlag = (level: number) => 1 << (level - 1);

/** Nodes on the edges of disks that are remembered. */
const MOST_EDGES = 100_000;

/**
 * Checks cluster maps. What a node must be depends on its level, and, on the way to the disk's end, on the disk's size: inner nodes are walked once for each
 * level, those on the edge (one a level) once for each size.
 */
export class MapWalk {
  readonly #walk: TreeWalker;
  readonly #count: number;
  /** By cluster size: a store has one, unless its setting was changed. */
  readonly #inner = new Map<number, ObjectFlags>();
  readonly #edges = new Set<string>();

  /** @param count numbers of objects below it are known from the start */
  constructor(walk: TreeWalker, count: number) {
    this.#walk = walk;
    this.#count = count;
  }

  /** Walks a disk's map. Returns whether something is wrong with it. @param neededBy what names its root */
  async walk(
    root: ObjectId,
    { virtualSize, clusterSize, levels }: DiskShape,
    neededBy: string,
  ): Promise<boolean> {
    const clusters = clusterCount(virtualSize, clusterSize);
    const lastBytes = virtualSize - Math.max(0, clusters - 1) * clusterSize;
    return this.#node(root, { level: levels, clusterSize, clusters, lastBytes, isRoot: true }, neededBy);
  }

  async #node(id: ObjectId, place: NodePlace, neededBy: string): Promise<boolean> {
    const entry = this.#walk.need({ id, kind: 'tree', neededBy });
    if (entry === undefined) return true;
    if (!this.#isNew(id, entry.number, place)) return this.#walk.dirty.has(id);
    const dirty = await this.#enter(id, place);
    if (dirty) this.#walk.dirty.add(id);
    return dirty;
  }

  #isNew(id: ObjectId, number: number, place: NodePlace): boolean {
    if (isInner(place)) return this.#flagsOf(place.clusterSize).set(number, levelFlag(place.level));
    const edge = edgeKey(id, place);
    if (this.#edges.has(edge)) return false;
    if (this.#edges.size < MOST_EDGES) this.#edges.add(edge);
    return true;
  }

  async #enter(id: ObjectId, place: NodePlace): Promise<boolean> {
    const { findings } = this.#walk;
    await this.#walk.breathe();
    const entries = this.#walk.readTree(id);
    if (entries === undefined) return true;
    if (entries.length === 0 && !place.isRoot)
      findings.notice(`tree ${id}: is an empty node of a cluster map, which imgstore leaves out`);
    let dirty = false;
    for (const each of entries) {
      const fault = faultOf(each, place);
      if (fault !== undefined) findings.problem(id, 'tree', fault);
      const isWrong =
        fault !== undefined
          ? await this.#walk.walkTree({ id: each.id, kind: linkKind(each), neededBy: `tree ${id}` })
          : await this.#slot(id, each, place);
      dirty ||= isWrong;
    }
    return dirty || findings.problems.has(id);
  }

  async #slot(node: ObjectId, { id, name }: TreeEntry, place: NodePlace): Promise<boolean> {
    const first = Number.parseInt(name, 16) * clustersPerSlot(place.level);
    const clusters = place.clusters - first;
    const neededBy = `tree ${node}`;
    if (place.level > 1)
      return this.#node(id, { ...place, level: place.level - 1, clusters, isRoot: false }, neededBy);
    return this.#cluster(node, id, name, clusters === 1 ? place.lastBytes : place.clusterSize);
  }

  #cluster(node: ObjectId, id: ObjectId, name: string, length: number): boolean {
    const { findings } = this.#walk;
    if (this.#walk.isElsewhere(id)) return false;
    const entry = this.#walk.need({ id, kind: 'blob', neededBy: `tree ${node}` });
    if (entry === undefined) return true;
    const { size, isZero } = entry.object!;
    if (size !== length) {
      findings.problem(node, 'tree', `cluster ${name} has ${size} bytes, not ${length}`);
      return true;
    }
    if (isZero) findings.notice(`tree ${node}: names a cluster of zeros, ${name}, which imgstore leaves out`);
    return findings.problems.has(id);
  }

  #flagsOf(clusterSize: number): ObjectFlags {
    let flags = this.#inner.get(clusterSize);
    if (flags === undefined) {
      flags = new ObjectFlags(this.#count);
      this.#inner.set(clusterSize, flags);
    }
    return flags;
  }
}

/** What is wrong with an entry of a node, whatever it leads to. */
function faultOf(entry: TreeEntry, { level, clusters }: NodePlace): string | undefined {
  const { mode, name } = entry;
  if (!SLOT_PATTERN.test(name)) return `a cluster map has an entry '${name}': names are 00 to ff`;
  const wanted = level === 1 ? '100644' : '40000';
  if (mode !== wanted) return `a cluster map has mode ${mode} for '${name}' at level ${level}`;
  if (Number.parseInt(name, 16) * clustersPerSlot(level) >= clusters)
    return `has cluster map entry ${name} behind the end of the disk`;
  return undefined;
}

/** Whether all clusters that a node can have are whole ones of the disk. */
function isInner({ level, clusters, lastBytes, clusterSize }: NodePlace): boolean {
  const room = clustersPerSlot(level) * FAN_OUT;
  return clusters > room || (clusters === room && lastBytes === clusterSize);
}

function edgeKey(id: ObjectId, { level, clusterSize, clusters, lastBytes }: NodePlace): string {
  return `${id}:${level}:${clusterSize}:${clusters}:${lastBytes}`;
}
