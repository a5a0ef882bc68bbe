/**
 * A chart of results as SVG: a group of horizontal bars for each job, as long as the job took.
 *
 * @module
 */

const WIDTH = 980;
const NAME_WIDTH = 270;
/** Beside the longest bar, for its numbers. */
const NUMBERS_WIDTH = 340;
const MARGIN = 20;
/** Of the line with a job's name, and of each line of its conclusion. */
const LINE_HEIGHT = 18;
const TITLE_GAP = 8;
const BAR_STEP = 22;
const BAR_HEIGHT = 15;
const GROUP_GAP = 12;

/** Colours have enough contrast on both backgrounds; a viewer with no preference gets the light one. */
const STYLE = `
  svg { font: 13px system-ui, sans-serif }
  .page { fill: #ffffff } text { fill: #1f2328 } .note { fill: #59636e } .own { fill: #0969da } .other { fill: #9aa4ae }
  .job { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #f0f6fc } .note { fill: #9198a1 } .own { fill: #4493f8 } .other { fill: #59636e }
  }`;

/** @param {readonly import('./table.mjs').Result[]} results @returns {string} an SVG document */
export function drawChart(results) {
  const parts = [];
  let y = MARGIN;
  for (const { job, tools, conclusion } of results) {
    parts.push(`<text class="job" x="${MARGIN}" y="${y + 14}">${escaped(job)}</text>`);
    const notes = conclusion?.split('; ') ?? [];
    for (const [line, note] of notes.entries())
      parts.push(noteAt(MARGIN + NAME_WIDTH, y + 14 + line * LINE_HEIGHT, note));
    y += Math.max(1, notes.length) * LINE_HEIGHT + TITLE_GAP;
    const longest = Math.max(...tools.map(({ seconds }) => seconds ?? 0));
    for (const row of tools) {
      parts.push(bar(row, y, longest));
      y += BAR_STEP;
    }
    y += GROUP_GAP;
  }
  const height = y - GROUP_GAP + MARGIN;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">`,
    '<title>Seconds of each job, by imgstore and by its peers (shorter is better)</title>',
    `<style>${STYLE}\n</style>`,
    `<rect class="page" width="${WIDTH}" height="${height}"/>`,
    ...parts,
    '</svg>',
  ].join('\n')}\n`;
}

/** @param {import('./table.mjs').Row} row @param {number} y @param {number} longest seconds of the longest bar of the group */
function bar(row, y, longest) {
  const base = y + BAR_HEIGHT - 3;
  const left = MARGIN + NAME_WIDTH;
  const name = `<text x="${left - 8}" y="${base}" text-anchor="end">${escaped(row.tool)}</text>`;
  if (row.skipped !== undefined) return `${name}\n${noteAt(left, base, `left out: ${row.skipped}`)}`;
  const room = WIDTH - MARGIN - left - NUMBERS_WIDTH;
  const width = Math.max(1, longest > 0 ? (row.seconds / longest) * room : 0).toFixed(1);
  const kind = row.tool.startsWith('imgstore') ? 'own' : 'other';
  return [
    name,
    `<rect class="${kind}" x="${left}" y="${y}" width="${width}" height="${BAR_HEIGHT}" rx="2"/>`,
    `<text x="${(left + Number(width) + 8).toFixed(1)}" y="${base}">${escaped(numbers(row))}</text>`,
  ].join('\n');
}

/** What is written out beside a bar. @param {import('./table.mjs').Row} row */
function numbers({ seconds, bytesPerSecond, peakBytes, storedBytes, microsecondsPerCluster }) {
  const time = seconds < 1 ? `${(seconds * 1000).toFixed(0)} ms` : `${seconds.toFixed(2)} s`;
  const megabytes = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
  return [
    time,
    microsecondsPerCluster !== undefined && `${microsecondsPerCluster.toFixed(1)} µs a cluster`,
    microsecondsPerCluster === undefined && bytesPerSecond !== undefined && `${megabytes(bytesPerSecond)}/s`,
    peakBytes !== undefined && `peak ${megabytes(peakBytes)}`,
    storedBytes !== undefined && `stored ${megabytes(storedBytes)}`,
  ]
    .filter(Boolean)
    .join(' · ');
}

/** Characters that have room beside the names. */
const NOTE_LENGTH = 95;

/** @param {number} x @param {number} y @param {string} text */
function noteAt(x, y, text) {
  return `<text class="note" x="${x}" y="${y}">${escaped(shorten(text))}</text>`;
}

/** @param {string} text */
function shorten(text) {
  return text.length <= NOTE_LENGTH ? text : `${text.slice(0, NOTE_LENGTH - 1)}…`;
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/[&<>"]/g, (character) => `&#${character.codePointAt(0)};`);
}
