/**
 * What coming up costs.
 *
 * @module
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { measure, median, run } from './measure.mjs';
import { prepare } from './prepare.mjs';
import { ours } from './tools.mjs';

const BARE_NODE = 'node -e 0';
/** Of one round: a start is short, so one of them tells little. */
const STARTS = 5;
/** The bar: so many times a bare node, and so much more. */
const TIMES_NODE = 1.5;
const MORE_SECONDS = 0.06;

/** @type {import('./jobs.mjs').Job} */
export const startUpJob = {
  name: 'start-up',
  packages: ['time'],
  contenders: [
    { name: BARE_NODE, round: () => startOf({ command: [process.execPath, '-e', '0'] }) },
    { name: 'imgstore --version', round: () => startOf(ours(['--version'])) },
    {
      name: 'imgstore log',
      round: (work) => startOf(ours(['--store', smallStore(work), 'log'])),
    },
  ],
  conclusion: compareWithBar,
};

/** @param {import('./tools.mjs').Run} program */
function startOf({ command, ...options }) {
  prepare([]);
  const runs = Array.from({ length: STARTS }, () => measure(command, options));
  return {
    seconds: median(runs.map(({ seconds }) => seconds)),
    peakBytes: Math.max(...runs.map(({ peakBytes }) => peakBytes)),
  };
}

/** A store with one version of a small disk. @param {string} work */
function smallStore(work) {
  const store = join(work, 'small-store');
  if (existsSync(store)) return store;
  const disk = join(work, 'small.raw');
  writeFileSync(disk, 'x'.repeat(2 ** 20));
  run(ours(['init', '--quiet', store]));
  run(ours(['--store', store, 'commit', '--quiet', '-b', 'disk', disk]));
  return store;
}

/** @param {readonly import('./table.mjs').Row[]} rows */
function compareWithBar(rows) {
  const node = rows.find(({ tool }) => tool === BARE_NODE);
  if (node === undefined) return undefined;
  const bar = TIMES_NODE * node.seconds + MORE_SECONDS;
  const ms = (/** @type {number} */ seconds) => `${(seconds * 1000).toFixed(0)} ms`;
  const results = rows
    .filter((row) => row !== node)
    .map(({ tool, seconds }) => `${tool} ${ms(seconds)}, ${seconds <= bar ? 'below' : 'ABOVE'} the bar`);
  return `${BARE_NODE} ${ms(node.seconds)}, bar ${TIMES_NODE} × that + ${ms(MORE_SECONDS)}: ${ms(bar)}; ${results.join('; ')}`;
}
