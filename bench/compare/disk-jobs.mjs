/**
 * Jobs on whole disks: storing them, storing them again, and writing them out.
 *
 * @module
 */
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { diskBytes, measureRun, run } from './measure.mjs';
import { filledPlace, freshPlace } from './places.mjs';
import { imgstore, ours, PEERS, packagesOf } from './tools.mjs';

/**
 * @typedef {import('./tools.mjs').Tool} Tool
 * @typedef {import('./jobs.mjs').Job} Job
 * @typedef {import('./jobs.mjs').Sample} Sample
 * @typedef {() => import('./jobs.mjs').Disks} Disks
 */

/** @param {Disks} disks @returns {readonly Job[]} */
export function diskJobs(disks) {
  const first = () => disks().first;
  /** Stores a disk where the first one is already. @param {() => string} image @param {string} label */
  const store = (image, label) => (/** @type {Tool} */ tool, /** @type {string} */ work) => {
    const place = filledPlace(work, tool, first());
    return measureRun(tool.store(place, image(), label), [image(), place]);
  };
  const unchanged = job('unchanged file, same path', first, (tool, work) => {
    const place = filledPlace(work, tool, first());
    run(tool.store(place, first(), 'again'));
    return measureRun(tool.store(place, first(), 'once-more'), [first(), place]);
  });
  const version = { name: 'imgstore --version', round: () => measureRun(ours(['--version']), []) };
  return [
    job('first commit', first, (tool, work) => {
      const place = freshPlace(work, tool);
      const sample = measureRun(tool.store(place, first(), 'first'), [first()]);
      return { ...sample, storedBytes: diskBytes(place) };
    }),
    job(
      'the same bytes again, other path',
      first,
      store(() => disks().copy, 'copy'),
    ),
    job(
      'the next version',
      () => disks().next,
      store(() => disks().next, 'next'),
    ),
    { ...unchanged, contenders: [...unchanged.contenders, version] },
    ...['qcow2', 'raw'].map((format) =>
      job(`checkout to ${format}`, first, (tool, work) => {
        const place = filledPlace(work, tool, first());
        const output = join(work, tool === imgstore ? `out.${format}` : 'out');
        const sample = measureRun(tool.restore(place, first(), 'first', output), [place]);
        rmSync(output, { recursive: true, force: true });
        return sample;
      }),
    ),
  ];
}

/**
 * A job that every tool can do.
 * @param {string} name
 * @param {() => string} image whose bytes it handles, as far as its file takes room
 * @param {(tool: Tool, work: string) => Sample} round
 * @returns {Job}
 */
function job(name, image, round) {
  return {
    name,
    packages: packagesOf(PEERS),
    bytes: () => statSync(image()).blocks * 512,
    contenders: [imgstore, ...PEERS].map((tool) => ({
      name: tool.name,
      isPeer: tool !== imgstore,
      round: (work) => round(tool, work),
    })),
  };
}
