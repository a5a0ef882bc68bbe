/**
 * The time from the start of `imgstore checkout --backing nbd` to the end of the first read through the overlay by QEMU's `qemu-io`, for a disk of 1 TiB: with a server that runs, and with one that is started for that. Medians.
 *
 * usage: node bench/serve/first-read.mjs [ROUNDS]     after `npm run build`; needs qemu-io
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const [rounds = '11'] = process.argv.slice(2);
const program = fileURLToPath(new URL('../../dist/cmd/main.js', import.meta.url));
const work = mkdtempSync(join(process.env.TMPDIR ?? tmpdir(), 'imgstore-bench-first-read-'));
const [store, overlay, raw] = ['.imgstore', 'work.qcow2', 'disk.raw'].map((name) => join(work, name));
const socket = join(store, 'imgstore/nbd.sock');
const imgstore = (...args) =>
  execFileSync(process.execPath, [program, ...args], { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] });

/** Seconds until the checkout has ended, and until the read has. */
function timed() {
  rmSync(overlay, { force: true });
  const start = performance.now();
  imgstore('checkout', 'disk', '--backing', 'nbd', '-o', overlay);
  const written = performance.now();
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'read 0 64k', overlay], { stdio: 'ignore' });
  return [(written - start) / 1000, (performance.now() - start) / 1000];
}

/** Ends the server that a checkout has started. */
async function endServer() {
  const line = execFileSync('pgrep', ['-f', `serve.*${socket}`], { encoding: 'utf8' });
  for (const pid of line.trim().split('\n')) process.kill(Number(pid));
  while (existsSync(socket)) await sleep(20);
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const print = (name, times) =>
  console.log(
    `${name.padEnd(24)} checkout ${median(times.map(([written]) => written)).toFixed(3)} s, first read ${median(times.map(([, read]) => read)).toFixed(3)} s`,
  );

try {
  imgstore('init');
  writeFileSync(raw, Buffer.alloc(2 ** 20, 7));
  truncateSync(raw, 2 ** 40);
  imgstore('commit', raw, '-b', 'disk');
  imgstore('pack');
  const [started, running] = [[], []];
  for (let round = 0; round < Number(rounds); round++) {
    started.push(timed());
    await endServer();
    const server = spawn(process.execPath, [program, 'serve'], { cwd: work, stdio: 'ignore' });
    while (!existsSync(socket)) await sleep(20);
    await sleep(200);
    running.push(timed());
    server.kill();
    while (existsSync(socket)) await sleep(20);
  }
  print('server runs', running);
  print('server is started', started);
} finally {
  rmSync(work, { recursive: true, force: true });
}
