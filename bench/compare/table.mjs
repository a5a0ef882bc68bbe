/**
 * The table of a comparison.
 *
 * @module
 */

/**
 * @typedef {{ job: string, tool: string, seconds: number, bytesPerSecond: number, peakBytes: number, storedBytes: number | undefined }} Row
 */

/** How many times as fast as the fastest peer imgstore is, in one job. @param {readonly Row[]} rows */
export function ratioToBestPeer(rows) {
  const own = rows.find(({ tool }) => tool === 'imgstore');
  const peers = rows.filter(({ tool }) => !tool.startsWith('imgstore'));
  if (own === undefined || peers.length === 0) return undefined;
  return Math.min(...peers.map(({ seconds }) => seconds)) / own.seconds;
}

/** @param {readonly Row[]} rows one job */
export function printTable(rows) {
  const cell = (/** @type {string} */ text, width = 11) => text.padStart(width);
  const mb = (/** @type {number | undefined} */ bytes) =>
    bytes === undefined ? '-' : (bytes / 1e6).toFixed(0);
  console.log(
    `${rows[0].job.padEnd(34)}${cell('seconds')}${cell('MB/s')}${cell('peak MB')}${cell('stored MB')}`,
  );
  for (const { tool, seconds, bytesPerSecond, peakBytes, storedBytes } of rows)
    console.log(
      `  ${tool.padEnd(32)}${cell(seconds.toFixed(2))}${cell(mb(bytesPerSecond))}${cell(mb(peakBytes))}${cell(mb(storedBytes))}`,
    );
  const ratio = ratioToBestPeer(rows);
  if (ratio !== undefined) console.log(`  ${ratio.toFixed(2)} times as fast as the fastest peer\n`);
}

/** @param {readonly Row[]} rows */
export function summarize(rows) {
  const jobs = [...new Set(rows.map(({ job }) => job))];
  return jobs.map((job) => {
    const own = rows.filter((row) => row.job === job);
    return { job, ratioToBestPeer: ratioToBestPeer(own), tools: own };
  });
}
