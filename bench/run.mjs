/**
 * Measures imgstore beside restic, borg and casync: seconds, MB/s, memory and stored bytes of each job, medians over rounds in which all take their turn.
 *
 * usage: npm run bench -- [--rounds 5] [--work DIR] [--only WORD] [--objects 1000000] [--json FILE] [--chart FILE.svg]
 *        npm run bench -- --from FILE --chart FILE.svg
 *
 * bench/README.md tells what the jobs are and what the options do.
 *
 * @module
 */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { drawChart } from './compare/chart.mjs';
import { installPackages } from './compare/install.mjs';
import { allJobs } from './compare/jobs.mjs';
import { describeMachine } from './compare/machine.mjs';
import { resultOf, rowOf, tableLines } from './compare/table.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    work: { type: 'string', default: 'bench-work' },
    only: { type: 'string', default: '' },
    objects: { type: 'string', default: '1000000' },
    json: { type: 'string' },
    chart: { type: 'string' },
    from: { type: 'string' },
  },
});
if (values.from === undefined) await measureAll();
else keep(JSON.parse(readFileSync(values.from, 'utf8')));

async function measureAll() {
  const rounds = count('rounds', 1);
  const work = resolve(values.work);
  const wanted = allJobs(join(work, 'disks'), count('objects', 10_000)).filter(({ name }) =>
    name.includes(values.only),
  );
  if (wanted.length === 0) fail(`no job's name has '${values.only}' in it`);
  if (!existsSync(fileURLToPath(new URL('../dist/cmd/main.js', import.meta.url))))
    fail('run npm run build first');
  installPackages(unique(wanted, 'packages'), unique(wanted, 'wished'));
  const scratch = join(work, 'scratch');
  // What an interrupted run has left was made by another build.
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const machine = describeMachine();
  const jobs = [];
  for (const job of wanted) {
    const result = await measureJob(job, rounds, scratch);
    console.log(tableLines(result).join('\n'));
    jobs.push(result);
    // After each job, so that what was measured is not lost when a later one fails.
    keep({ machine, rounds, jobs });
  }
  rmSync(scratch, { recursive: true, force: true });
}

/** Writes what was asked for. @param {{ jobs: readonly import('./compare/table.mjs').Result[] }} report */
function keep(report) {
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`);
  if (values.chart !== undefined) writeFileSync(values.chart, drawChart(report.jobs));
}

/** @param {import('./compare/jobs.mjs').Job} job @param {number} rounds @param {string} scratch */
async function measureJob(job, rounds, scratch) {
  /** @type {Map<string, import('./compare/jobs.mjs').Sample[]>} */
  const samples = new Map();
  /** @type {Map<string, string>} */
  const skipped = new Map();
  for (let round = 1; round <= rounds; round++)
    for (const { name, isPeer, round: run } of job.contenders) {
      if (skipped.has(name)) continue;
      showProgress(`${job.name}: round ${round} of ${rounds}, ${name}`);
      try {
        samples.set(name, [...(samples.get(name) ?? []), await run(scratch)]);
      } catch (error) {
        // A peer that does not work here is no reason to lose the rest of a long run.
        if (!isPeer) throw error;
        skipped.set(name, error.message.trim().split('\n').at(-1));
      }
    }
  showProgress('');
  const rows = job.contenders.map((contender) => {
    const { name, isPeer = false } = contender;
    const why = skipped.get(name);
    if (why !== undefined) return { job: job.name, tool: name, isPeer, skipped: why };
    return rowOf(job, contender, samples.get(name) ?? []);
  });
  return resultOf(job.name, rows, job.conclusion);
}

/** @param {string} text */
function showProgress(text) {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

/** @param {readonly import('./compare/jobs.mjs').Job[]} jobs @param {'packages' | 'wished'} which */
function unique(jobs, which) {
  return [...new Set(jobs.flatMap((job) => job[which] ?? []))];
}

/** A whole number of an option. @param {'rounds' | 'objects'} option @param {number} least */
function count(option, least) {
  const number = Number(values[option]);
  if (Number.isSafeInteger(number) && number >= least) return number;
  return fail(`--${option} ${values[option]}: not a whole number of at least ${least}`);
}

/** @param {string} message @returns {never} */
function fail(message) {
  console.error(`bench: ${message}`);
  process.exit(2);
}
