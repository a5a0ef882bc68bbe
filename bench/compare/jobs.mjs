/**
 * What is measured: the same job by imgstore and by each peer, in turn, on the same files.
 *
 * @module
 */
import { diskJobs } from './disk-jobs.mjs';
import { makeDisks } from './disks.mjs';
import { manyObjectJobs } from './many-object-jobs.mjs';
import { randomReadJob } from './random-read-job.mjs';
import { startUpJob } from './start-up-job.mjs';

/**
 * @typedef {import('./table.mjs').Row} Row
 * @typedef {{ first: string, copy: string, next: string }} Disks
 * @typedef {{
 *   seconds: number,
 *   peakBytes?: number,
 *   storedBytes?: number,
 *   startSeconds?: number,
 * }} Sample `startSeconds`: how much of the time the program takes to come up, on the same store
 * @typedef {{
 *   name: string,
 *   isPeer?: boolean,
 *   round: (work: string) => Sample | Promise<Sample>,
 * }} Contender a tool in one job. A peer that throws is left out of the table, which says why
 * @typedef {{
 *   name: string,
 *   packages: readonly string[],
 *   wished?: readonly string[],
 *   bytes?: () => number,
 *   clusters?: number,
 *   contenders: readonly Contender[],
 *   conclusion?: (rows: readonly Row[]) => string | undefined,
 * }} Job `clusters`: how many a run handles, for the cost of one; `packages` must be there, `wished` ones need not
 */

/**
 * All jobs, in the order of the table. Nothing is made before it is needed.
 * @param {string} disksFolder
 * @param {number} objects how many the large store has
 * @returns {readonly Job[]}
 */
export function allJobs(disksFolder, objects) {
  /** @type {Disks | undefined} */
  let made;
  const disks = () => {
    made ??= makeDisks(disksFolder);
    return made;
  };
  return [...diskJobs(disks), randomReadJob(disks), ...manyObjectJobs(objects), startUpJob];
}
