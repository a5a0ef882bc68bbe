/**
 * The table of a comparison.
 *
 * @module
 */
import { median } from './measure.mjs';

/**
 * @typedef {{
 *   job: string,
 *   tool: string,
 *   isPeer: boolean,
 *   seconds?: number,
 *   bytesPerSecond?: number,
 *   peakBytes?: number,
 *   storedBytes?: number,
 *   startSeconds?: number,
 *   microsecondsPerCluster?: number,
 *   skipped?: string,
 * }} Row one tool in one job: medians, the highest peak; or why it was left out
 * @typedef {{ job: string, ratioToBestPeer?: number, conclusion?: string, tools: readonly Row[] }} Result
 */

/**
 * What the samples of a tool say.
 * @param {import('./jobs.mjs').Job} job
 * @param {import('./jobs.mjs').Contender} contender
 * @param {readonly import('./jobs.mjs').Sample[]} samples
 * @returns {Row}
 */
export function rowOf({ name, bytes, clusters }, contender, samples) {
  const seconds = median(samples.map((sample) => sample.seconds));
  const peaks = samples.map(({ peakBytes }) => peakBytes).filter((peak) => peak !== undefined);
  const starts = samples.map(({ startSeconds }) => startSeconds).filter((start) => start !== undefined);
  const startSeconds = starts.length > 0 ? median(starts) : undefined;
  return {
    job: name,
    tool: contender.name,
    isPeer: contender.isPeer ?? false,
    seconds,
    bytesPerSecond: bytes && bytes() / seconds,
    peakBytes: peaks.length > 0 ? Math.max(...peaks) : undefined,
    storedBytes: samples.at(-1)?.storedBytes,
    startSeconds,
    microsecondsPerCluster: clusters && ((seconds - (startSeconds ?? 0)) / clusters) * 1e6,
  };
}

/** How many times as fast as the fastest peer imgstore is, in one job. @param {readonly Row[]} rows */
export function ratioToBestPeer(rows) {
  const own = rows.find(({ tool, skipped }) => tool === 'imgstore' && skipped === undefined);
  const peers = rows.filter(({ isPeer, skipped }) => isPeer && skipped === undefined);
  if (own === undefined || peers.length === 0) return undefined;
  return Math.min(...peers.map(({ seconds }) => seconds)) / own.seconds;
}

/** The columns of numbers: title, and text of a row. @type {readonly [string, (row: Row) => string][]} */
const COLUMNS = [
  ['seconds', ({ seconds }) => seconds.toFixed(seconds < 1 ? 3 : 2)],
  ['MB/s', ({ bytesPerSecond }) => megabytes(bytesPerSecond)],
  ['peak MB', ({ peakBytes }) => megabytes(peakBytes)],
  ['stored MB', ({ storedBytes }) => megabytes(storedBytes)],
];
const PER_CLUSTER = /** @type {const} */ ([
  'µs/cluster',
  ({ microsecondsPerCluster }) => microsecondsPerCluster.toFixed(1),
]);
const NAME_WIDTH = 34;
const COLUMN_WIDTH = 11;

/** The lines of one job. @param {Result} result @returns {readonly string[]} */
export function tableLines({ job, tools, conclusion }) {
  const hasCosts = tools.some(({ microsecondsPerCluster }) => microsecondsPerCluster !== undefined);
  const columns = hasCosts ? [...COLUMNS, PER_CLUSTER] : COLUMNS;
  const line = (/** @type {string} */ name, /** @type {readonly string[]} */ cells) =>
    name.padEnd(NAME_WIDTH) + cells.map((cell) => cell.padStart(COLUMN_WIDTH)).join('');
  return [
    line(
      job,
      columns.map(([title]) => title),
    ),
    ...tools.map((row) =>
      row.skipped === undefined
        ? line(
            `  ${row.tool}`,
            columns.map(([, text]) => text(row)),
          )
        : `${`  ${row.tool}`.padEnd(NAME_WIDTH)}    left out: ${row.skipped}`,
    ),
    ...(conclusion === undefined ? [] : [`  ${conclusion}`]),
    '',
  ];
}

/** @param {string} job @param {readonly Row[]} tools @param {import('./jobs.mjs').Job['conclusion']} conclude @returns {Result} */
export function resultOf(job, tools, conclude) {
  const ratio = ratioToBestPeer(tools);
  const ratioText = ratio === undefined ? undefined : `${ratio.toFixed(2)} times as fast as the fastest peer`;
  const measured = tools.filter(({ skipped }) => skipped === undefined);
  return { job, ratioToBestPeer: ratio, conclusion: conclude ? conclude(measured) : ratioText, tools };
}

/** @param {number | undefined} bytes */
function megabytes(bytes) {
  return bytes === undefined ? '-' : (bytes / 1e6).toFixed(0);
}
