import type { Geometry } from '../meta/geometry.ts';
import { maxRefcount } from '../meta/refcount-block.ts';
import type { ClusterCounts } from './cluster-counts.ts';
import type { Findings } from './findings.ts';

/** Counts how often the image's structures refer to each host cluster. */
export class References {
  readonly #counts: ClusterCounts;
  readonly #findings: Findings;
  readonly #clusterSize: number;
  readonly #hostSize: number;
  readonly #max: number;
  /** Clusters of the file, with one behind its end if that is referred to. */
  clusters: number;

  /** @param hostSize bytes of the file. @param refcountOrder the counts saturate where the image's would. */
  constructor(
    counts: ClusterCounts,
    findings: Findings,
    geometry: Geometry,
    hostSize: number,
    refcountOrder: number,
  ) {
    this.#counts = counts;
    this.#findings = findings;
    this.#clusterSize = geometry.clusterSize;
    this.#hostSize = hostSize;
    this.clusters = Math.ceil(hostSize / geometry.clusterSize);
    this.#max = maxRefcount(refcountOrder);
  }

  /**
   * Counts a reference to every cluster that [offset, offset + length) touches.
   * @param times how many references. @param what refers, for people.
   * @returns false when the range leaves the file; a part of one cluster may, and nothing is counted otherwise.
   */
  add(offset: number, length: number, what: () => string, times = 1): boolean {
    if (length <= 0) return true;
    if (offset + length - this.#hostSize >= this.#clusterSize) {
      this.#findings.add(
        'corruption',
        offset,
        () => `${what()} at offset ${offset} leaves the file of ${this.#hostSize} bytes`,
        times,
      );
      return false;
    }
    const last = Math.floor((offset + length - 1) / this.#clusterSize);
    for (let cluster = Math.floor(offset / this.#clusterSize); cluster <= last; cluster++) {
      this.#addCluster(cluster, what, times);
    }
    this.clusters = Math.max(this.clusters, last + 1);
    return true;
  }

  #addCluster(cluster: number, what: () => string, times: number): void {
    const sum = this.#counts.get(cluster) + times;
    this.#counts.set(cluster, Math.min(sum, this.#max));
    if (sum <= this.#max) return;
    this.#findings.add(
      'corruption',
      cluster * this.#clusterSize,
      () =>
        `${what()}: the cluster at offset ${cluster * this.#clusterSize} has more references than a refcount holds, ${this.#max}`,
      sum - this.#max,
    );
  }
}
