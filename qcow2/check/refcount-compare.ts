import { isZero } from '../../block/index.ts';
import type { Geometry } from '../meta/geometry.ts';
import type { Qcow2Header } from '../meta/header.ts';
import { TABLE_ENTRY_BYTES } from '../meta/layout.ts';
import { type RefcountReader, refcountReader, refcountsPerBlock } from '../meta/refcount-block.ts';
import { refcountTableEntry } from '../meta/refcount-table.ts';
import { type ClusterCounts, PAGE_CLUSTERS } from './cluster-counts.ts';
import type { Findings } from './findings.ts';
import type { HostTables } from './host-tables.ts';
import type { References } from './references.ts';

/** What is known of a refcount block before it is read. */
const ABSENT = 0;
const PRESENT = 1;
const UNREADABLE = 2;

/** Reads beyond this fail in QEMU, below it they give zeros; as a double, the largest offset of a file. */
const MAX_OFFSET = 2 ** 63;

/** A damaged image may refer to clusters all over the place; this is 2 GiB of the largest blocks. */
const MAX_OUTSIDE_READS = 1024;

/** Checks the refcount table and compares the refcounts in its blocks with the references that were counted. */
export class RefcountCompare {
  readonly #tables: HostTables;
  readonly #findings: Findings;
  readonly #clusterSize: number;
  readonly #perBlock: number;
  readonly #read: RefcountReader;
  readonly #table: Buffer;
  /** By refcount table entry. */
  readonly #states: Uint8Array;
  #outside: { readonly index: number; readonly block: Buffer } | undefined;
  #outsideReads = 0;
  /** Number of the last cluster that is counted or referred to. */
  highest = 0;

  /** @param table all entries of the refcount table. */
  constructor(
    tables: HostTables,
    findings: Findings,
    geometry: Geometry,
    { refcountOrder }: Qcow2Header,
    table: Buffer,
  ) {
    this.#tables = tables;
    this.#findings = findings;
    this.#clusterSize = geometry.clusterSize;
    this.#perBlock = refcountsPerBlock(refcountOrder, geometry.clusterSize);
    this.#read = refcountReader(refcountOrder);
    this.#table = table;
    this.#states = new Uint8Array(table.length / TABLE_ENTRY_BYTES);
  }

  /** Checks the entries of the refcount table and counts its blocks. All else must have been counted. */
  checkTable(references: References, counts: ClusterCounts): void {
    for (let index = 0; index < this.#states.length; index++) {
      const { offset, reserved, aligned } = refcountTableEntry(this.#table, index, this.#clusterSize);
      if (offset === 0 && !reserved) continue;
      const bad = (why: string) => {
        this.#findings.add('corruption', offset, () => `entry ${index} of the refcount table ${why}`);
      };
      const outside = offset / this.#clusterSize >= references.clusters;
      if (!aligned || offset >= MAX_OFFSET) this.#states[index] = UNREADABLE;
      else if (!outside && offset !== 0) this.#states[index] = PRESENT;
      if (reserved) bad('has reserved bits set');
      else if (!aligned) bad(`has offset ${offset}, which is not a multiple of ${this.#clusterSize}`);
      else if (outside) bad(`has offset ${offset}, which is outside of the file`);
      else {
        references.add(offset, this.#clusterSize, () => `refcount block ${index}`);
        if (counts.get(offset / this.#clusterSize) !== 1)
          bad(`has a block at offset ${offset} that is not its own`);
      }
    }
  }

  /**
   * Compares all refcounts. Afterwards `counts` holds 1 for clusters whose refcount is exactly 1, whatever refers to
   * them, and 0 for others.
   */
  async compare(counts: ClusterCounts, hostClusters: number): Promise<void> {
    const withData = await this.#blocksWithData();
    let last: { offset: number; block: Buffer; empty: boolean; used: number | undefined } | undefined;
    const blocks = Math.min(this.#states.length, Math.ceil(hostClusters / this.#perBlock));
    for (let index = 0; index < blocks; index++) {
      const first = index * this.#perBlock;
      const end = Math.min(first + this.#perBlock, hostClusters);
      if (this.#states[index] === UNREADABLE) {
        this.#findings.add(
          'error',
          first * this.#clusterSize,
          () => `the refcounts of clusters ${first} to ${end - 1} cannot be read`,
          end - first,
        );
      }
      if (this.#states[index] !== PRESENT) continue;
      const { offset } = refcountTableEntry(this.#table, index, this.#clusterSize);
      if (offset !== last?.offset && withData.has(offset)) {
        const block = await this.#tables.table(offset, this.#clusterSize);
        last = { offset, block, empty: isZero(block), used: undefined };
      } else if (last !== undefined && offset === last.offset && !last.empty) {
        // Two entries with one block are corrupt, as has been told; a table full of them must not take hours.
        last.used ??= this.#used(last.block);
        if (this.#skip(first, end, last.used, counts)) continue;
      }
      if (offset !== last?.offset || last.empty) this.#states[index] = ABSENT;
      else this.#compareBlock(last.block, first, end, counts);
    }
    this.#compareUncounted(counts, hostClusters);
  }

  /**
   * The stored refcount of a cluster behind the end of the file, such as one that was cut off. Blocks are read for
   * {@link MAX_OUTSIDE_READS} of them at most; then it is 0.
   */
  async outside(cluster: number): Promise<number> {
    const index = Math.floor(cluster / this.#perBlock);
    if (this.#states[index] !== PRESENT) return 0;
    if (this.#outside?.index !== index) {
      if (this.#outsideReads++ >= MAX_OUTSIDE_READS) return 0;
      const { offset } = refcountTableEntry(this.#table, index, this.#clusterSize);
      this.#outside = { index, block: await this.#tables.table(offset, this.#clusterSize) };
    }
    return this.#read(this.#outside.block, cluster % this.#perBlock);
  }

  /** Offsets of blocks that do not lie in holes of the file. */
  async #blocksWithData(): Promise<ReadonlySet<number>> {
    const offsets = new Float64Array(this.#states.length);
    this.#states.forEach((state, index) => {
      if (state === PRESENT)
        offsets[index] = refcountTableEntry(this.#table, index, this.#clusterSize).offset;
    });
    const found = new Set<number>();
    const finder = this.#tables.dataFinder();
    for (const offset of offsets.sort()) {
      if (offset === 0 || found.has(offset)) continue;
      const data = finder.hasData(offset, this.#clusterSize);
      if (data instanceof Promise ? await data : data) found.add(offset);
    }
    return found;
  }

  #compareBlock(block: Buffer, first: number, end: number, counts: ClusterCounts): void {
    for (let from = first; from < end; ) {
      const key = Math.floor(from / PAGE_CLUSTERS);
      const to = Math.min((key + 1) * PAGE_CLUSTERS, end);
      const referred = counts.hasPage(key);
      for (let cluster = from; cluster < to; cluster++) {
        const refcount = this.#read(block, cluster - first);
        const references = referred ? counts.get(cluster) : 0;
        if (refcount !== 0 || references !== 0) this.highest = Math.max(this.highest, cluster);
        if (refcount !== references) this.#mismatch(cluster, refcount, references);
        if (referred) counts.set(cluster, refcount === 1 ? 1 : 0);
      }
      from = to;
    }
  }

  /** Counts a block's clusters as leaks at once, if nothing refers to any of them. @param used refcounts above 0. */
  #skip(first: number, end: number, used: number, counts: ClusterCounts): boolean {
    if (end - first < this.#perBlock) return false;
    const lastPage = Math.floor((end - 1) / PAGE_CLUSTERS);
    for (let key = Math.floor(first / PAGE_CLUSTERS); key <= lastPage; key++) {
      if (counts.hasPage(key)) return false;
    }
    this.highest = Math.max(this.highest, end - 1);
    this.#findings.add(
      'leak',
      first * this.#clusterSize,
      () => `${used} of the clusters ${first} to ${end - 1} have refcounts but no references`,
      used,
    );
    return true;
  }

  #used(block: Buffer): number {
    let used = 0;
    for (let i = 0; i < this.#perBlock; i++) if (this.#read(block, i) !== 0) used++;
    return used;
  }

  /** Clusters that are referred to but have no refcount block, or one of zeros. */
  #compareUncounted(counts: ClusterCounts, hostClusters: number): void {
    for (const cluster of counts.clusters()) {
      const state = this.#states[Math.floor(cluster / this.#perBlock)] ?? ABSENT;
      if (cluster >= hostClusters || state !== ABSENT) continue;
      this.highest = Math.max(this.highest, cluster);
      this.#mismatch(cluster, 0, counts.get(cluster));
      counts.set(cluster, 0);
    }
  }

  #mismatch(cluster: number, refcount: number, references: number): void {
    const offset = cluster * this.#clusterSize;
    this.#findings.add(
      refcount < references ? 'corruption' : 'leak',
      offset,
      () => `cluster ${cluster} at offset ${offset} has refcount ${refcount} and ${references} references`,
    );
  }
}
