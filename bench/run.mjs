/**
 * Measures imgstore beside restic, borg and casync: seconds, MB/s, memory and stored bytes of each job, medians over rounds in which all take their turn.
 *
 * usage: npm run bench -- [--rounds 5] [--work DIR] [--json FILE] [--only WORD]
 *
 * Makes its own disks (as root a Debian by debootstrap, else an ext4 of this machine's /usr) in DIR, by default `bench-work`, where they stay for the next time; installs what is
 * missing of the tools when it is root.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { makeDisks } from './compare/disks.mjs';
import { jobsOn } from './compare/jobs.mjs';
import { median } from './compare/measure.mjs';
import { printTable, summarize } from './compare/table.mjs';
import { PEERS } from './compare/tools.mjs';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    work: { type: 'string', default: 'bench-work' },
    json: { type: 'string' },
    only: { type: 'string', default: '' },
  },
});
const work = resolve(values.work);
const rounds = Number(values.rounds);
if (!existsSync(fileURLToPath(new URL('../dist/cmd/main.js', import.meta.url)))) {
  console.error('bench: run npm run build first');
  process.exit(2);
}
mkdirSync(work, { recursive: true });
installTools();
const disks = makeDisks(join(work, 'disks'));
const scratch = join(work, 'scratch');
mkdirSync(join(scratch, 'kept'), { recursive: true });

/** @type {import('./compare/table.mjs').Row[]} */
const rows = [];
for (const job of jobsOn(disks).filter(({ name }) => name.includes(values.only))) {
  /** @type {Map<string, import('./compare/jobs.mjs').Sample[]>} */
  const samples = new Map();
  for (let round = 0; round < rounds; round++) {
    for (const { name, round: run } of job.tools) {
      spawnSync('sync');
      samples.set(name, [...(samples.get(name) ?? []), run(scratch)]);
      process.stderr.write(`\r\x1b[K${job.name}: round ${round + 1} of ${rounds}, ${name}`);
    }
  }
  process.stderr.write('\r\x1b[K');
  for (const [tool, all] of samples)
    rows.push({
      job: job.name,
      tool,
      seconds: median(all.map(({ seconds }) => seconds)),
      bytesPerSecond: job.bytes / median(all.map(({ seconds }) => seconds)),
      peakBytes: Math.max(...all.map(({ peakBytes }) => peakBytes)),
      storedBytes: all.at(-1)?.storedBytes,
    });
  printTable(rows.filter((row) => row.job === job.name));
}
rmSync(scratch, { recursive: true, force: true });
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify(summarize(rows), undefined, 2)}\n`);

function installTools() {
  const wanted = ['time', ...PEERS.flatMap(({ packages }) => packages)];
  const programs = { borgbackup: 'borg' };
  const missing = [...new Set(wanted)].filter(
    (name) => spawnSync('which', [programs[name] ?? name]).status !== 0,
  );
  if (missing.length === 0) return;
  const { status } = spawnSync('apt-get', ['install', '-y', '--no-install-recommends', ...missing], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status === 0) return;
  console.error(`bench: install ${missing.join(' ')} first`);
  process.exit(2);
}
