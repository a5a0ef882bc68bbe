/**
 * What is measured: the same job by imgstore and by each peer, in turn, on the same files.
 *
 * @module
 */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { diskBytes, measure } from './measure.mjs';
import { imgstore, ours, PEERS } from './tools.mjs';

/**
 * @typedef {import('./tools.mjs').Tool} Tool
 * @typedef {{ first: string, copy: string, next: string }} Disks
 * @typedef {{ seconds: number, peakBytes: number, storedBytes?: number }} Sample
 * @typedef {{
 *   name: string,
 *   bytes: number,
 *   tools: readonly { name: string, round: (work: string) => Sample }[],
 * }} Job
 */

/** @param {import('./tools.mjs').Run} run */
const go = ({ command, ...options }) => measure(command, options);

/**
 * The jobs on some disks.
 * @param {Disks} disks
 * @returns {readonly Job[]}
 */
export function jobsOn(disks) {
  const tools = [imgstore, ...PEERS];
  const first = dataBytes(disks.first);
  const next = dataBytes(disks.next);
  return [
    {
      name: 'first commit',
      bytes: first,
      tools: tools.map((tool) => ({
        name: tool.name,
        round: (work) => {
          const place = fresh(work, tool);
          const sample = go(tool.store(place, disks.first, 'first'));
          return { ...sample, storedBytes: diskBytes(place) };
        },
      })),
    },
    {
      name: 'the same bytes again, other path',
      bytes: first,
      tools: tools.map((tool) => ({
        name: tool.name,
        round: (work) => go(tool.store(filled(work, tool, disks), disks.copy, 'copy')),
      })),
    },
    {
      name: 'the next version',
      bytes: next,
      tools: tools.map((tool) => ({
        name: tool.name,
        round: (work) => go(tool.store(filled(work, tool, disks), disks.next, 'next')),
      })),
    },
    {
      name: 'unchanged file, same path',
      bytes: first,
      tools: [
        ...tools.map((tool) => ({
          name: tool.name,
          round: (/** @type {string} */ work) => {
            const place = filled(work, tool, disks);
            go(tool.store(place, disks.first, 'again'));
            return go(tool.store(place, disks.first, 'once-more'));
          },
        })),
        { name: 'imgstore --version', round: () => go(ours(['--version'])) },
      ],
    },
    ...['qcow2', 'raw'].map((format) => ({
      name: `checkout to ${format}`,
      bytes: first,
      tools: tools.map((tool) => ({
        name: tool.name,
        round: (/** @type {string} */ work) => {
          const place = filled(work, tool, disks);
          const output = join(work, tool === imgstore ? `out.${format}` : 'out');
          const sample = go(tool.restore(place, disks.first, 'first', output));
          rmSync(output, { recursive: true, force: true });
          return sample;
        },
      })),
    })),
  ];
}

/** A new, empty place of a tool. @param {string} work @param {Tool} tool */
function fresh(work, tool) {
  const place = join(work, 'place');
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  go(tool.init(place));
  return place;
}

/** A place with the first disk in it; copied, as filling it takes long. @param {string} work @param {Tool} tool @param {Disks} disks */
function filled(work, tool, disks) {
  const kept = join(work, 'kept', tool.name.replace(/\W+/g, '-'));
  if (!exists(kept)) {
    const place = fresh(work, tool);
    go(tool.store(place, disks.first, 'first'));
    mkdirSync(join(work, 'kept'), { recursive: true });
    go({ command: ['cp', '-a', place, kept] });
  }
  const place = join(work, 'place');
  rmSync(place, { recursive: true, force: true });
  go({ command: ['cp', '-a', kept, place] });
  return place;
}

/** @param {string} path */
function exists(path) {
  return readdirSync(join(path, '..'), { withFileTypes: true }).some(({ name }) => name === basename(path));
}

/** Bytes of data in an image, as far as its file takes room. @param {string} path */
function dataBytes(path) {
  return statSync(path).blocks * 512;
}
