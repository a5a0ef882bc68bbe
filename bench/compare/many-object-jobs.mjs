/**
 * What a cluster costs in a store of few objects and in one of many.
 *
 * @module
 */
import { appendFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CLUSTER_BYTES, writeClusters } from './many-clusters.mjs';
import { measure, measureRun, median, run } from './measure.mjs';
import { copyPlace } from './places.mjs';
import { ours } from './tools.mjs';

/** Clusters of the disks that are committed and read, and of the small store. */
const DISK_CLUSTERS = 10_000;
/** Number of the first cluster that no store has. */
const NEW_CLUSTERS = 2 ** 40;
/** The start-up is short, so one of them tells little. */
const START_UPS = 3;

/**
 * @param {number} objects of the large store
 * @returns {readonly import('./jobs.mjs').Job[]}
 */
export function manyObjectJobs(objects) {
  const large = { name: `imgstore, ${objects} objects`, objects };
  const sizes = [{ name: `imgstore, ${DISK_CLUSTERS} objects`, objects: DISK_CLUSTERS }, large];
  /** @param {string} verb @param {(work: string, store: string) => import('./jobs.mjs').Sample} round */
  const costOf = (verb, round) => ({
    name: `${verb} of ${DISK_CLUSTERS} clusters`,
    packages: ['time'],
    bytes: () => DISK_CLUSTERS * CLUSTER_BYTES,
    clusters: DISK_CLUSTERS,
    contenders: sizes.map((size) => ({
      name: size.name,
      round: (/** @type {string} */ work) => round(work, storeWith(work, size.objects)),
    })),
    conclusion: compareCosts,
  });
  return [
    costOf('commit', (work, kept) => {
      const disk = join(work, 'new-clusters.raw');
      if (!existsSync(disk)) writeClusters(disk, NEW_CLUSTERS, DISK_CLUSTERS);
      const store = copyPlace(work, kept);
      return withStartUp(store, ['commit', '--quiet', '-b', 'new', disk], [store, disk]);
    }),
    costOf('cat', (_, store) => withStartUp(store, ['cat', 'disk'], [store])),
    costOf('checkout', (work, store) => {
      const output = join(work, 'out.qcow2');
      const sample = withStartUp(store, ['checkout', '--quiet', 'disk', '-o', output], [store]);
      rmSync(output);
      return sample;
    }),
    {
      name: `stats of ${objects} objects`,
      packages: ['time', 'git'],
      contenders: [
        {
          name: 'imgstore',
          round: (work) => {
            const store = storeWith(work, objects);
            return measureRun(ours(['--store', store, 'stats']), [store]);
          },
        },
        {
          name: 'git rev-list --disk-usage',
          isPeer: true,
          round: (work) => {
            const store = storeWith(work, objects);
            const repository = join(store, '.imgstore');
            const command = ['git', '-C', repository, 'rev-list', '--objects', '--all', '--disk-usage'];
            return measureRun({ command }, [store]);
          },
        },
      ],
    },
  ];
}

/** Measures a verb, and what of it is the start-up. @param {string} store @param {readonly string[]} args @param {readonly string[]} inputs */
function withStartUp(store, args, inputs) {
  const sample = measureRun(ours(['--store', store, ...args]), inputs);
  const starts = Array.from({ length: START_UPS }, () => measure(...logOf(store)).seconds);
  return { ...sample, startSeconds: median(starts) };
}

/** @param {string} store @returns {Parameters<typeof measure>} */
function logOf(store) {
  const { command, ...options } = ours(['--store', store, 'log', '-n', '1']);
  return [command, options];
}

/**
 * A store of at least so many objects, with a disk of {@link DISK_CLUSTERS} clusters from their middle as the branch `disk`. It is made once.
 * @param {string} work
 * @param {number} objects
 */
function storeWith(work, objects) {
  const store = join(work, 'kept', `objects-${objects}`);
  if (existsSync(store)) return store;
  mkdirSync(join(work, 'kept'), { recursive: true });
  const part = `${store}.part`;
  const disk = join(work, 'clusters.raw');
  run(ours(['init', '--quiet', '--cluster-size', String(CLUSTER_BYTES), part]));
  // What is measured is the verb, not the packing that a commit may start beside it.
  appendFileSync(join(part, '.imgstore', 'config'), '[imgstore]\n\tautoPack = 0\n');
  const middle = Math.floor((objects - DISK_CLUSTERS) / 2);
  for (const [branch, first, count] of [
    ['all', 0, objects],
    ['disk', middle, DISK_CLUSTERS],
  ]) {
    writeClusters(disk, first, count);
    run(ours(['--store', part, 'commit', '--quiet', '-b', branch, disk]));
    rmSync(disk);
  }
  renameSync(part, store);
  return store;
}

/** How many times as much a cluster costs in the large store. @param {readonly import('./table.mjs').Row[]} rows */
function compareCosts([small, large]) {
  if (large === undefined) return undefined;
  const ratio = large.microsecondsPerCluster / small.microsecondsPerCluster;
  return `a cluster costs ${ratio.toFixed(2)} times as much; the time of \`log -n 1\` on the same store is taken off (${starts([small, large])})`;
}

/** @param {readonly import('./table.mjs').Row[]} rows */
function starts(rows) {
  return rows.map(({ startSeconds }) => `${(startSeconds * 1000).toFixed(0)} ms`).join(' and ');
}
