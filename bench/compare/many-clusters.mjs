/**
 * Disks that cost nothing but their number of clusters: all are different, and deflate to almost nothing.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';

export const CLUSTER_BYTES = 4096;
/** How many are in memory at a time. */
const CLUSTERS_PER_WRITE = 256;
/** Of a cluster's number, at its start; the rest is zeros. */
const DIGESTS_PER_CLUSTER = 4;

/**
 * Writes a raw disk.
 * @param {string} file
 * @param {number} first number of its first cluster: equal numbers are equal clusters
 * @param {number} count clusters
 */
export function writeClusters(file, first, count) {
  const target = openSync(file, 'w');
  const buffer = Buffer.alloc(CLUSTERS_PER_WRITE * CLUSTER_BYTES);
  for (let done = 0; done < count; done += CLUSTERS_PER_WRITE) {
    const here = Math.min(CLUSTERS_PER_WRITE, count - done);
    for (let n = 0; n < here; n++) {
      const digest = createHash('sha256')
        .update(String(first + done + n))
        .digest();
      for (let copy = 0; copy < DIGESTS_PER_CLUSTER; copy++)
        digest.copy(buffer, n * CLUSTER_BYTES + copy * digest.length);
    }
    writeSync(target, buffer, 0, here * CLUSTER_BYTES);
  }
  closeSync(target);
}
