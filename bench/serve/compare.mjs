/**
 * `imgstore serve` of a packed store beside `qemu-nbd -r` of the same disk as compressed qcow2, in turn: a sequential copy by nbdcopy, random reads by fio. Medians.
 *
 * usage: node bench/serve/compare.mjs RAW [ROUNDS [CACHE]]     after `npm run build`; needs nbdcopy, qemu-nbd, qemu-img and fio with its engine nbd
 *
 * CACHE is what is given to `serve --cache`. RAW is a raw disk without large holes, which would be as fast to read as the network is. Its store and qcow2 are made beside it, and kept for the next run.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const [raw, rounds = '5', cache] = process.argv.slice(2);
if (raw === undefined) {
  console.error('usage: compare.mjs RAW [ROUNDS [CACHE]]');
  process.exit(2);
}
const program = fileURLToPath(new URL('../../dist/cmd/main.js', import.meta.url));
const folder = resolve(dirname(raw));
const [store, qcow2] = [`${folder}/serve-store`, `${folder}/serve.qcow2`];
const imgstore = (...args) =>
  execFileSync(process.execPath, [program, '--store', store, ...args], { stdio: 'inherit' });
if (!existsSync(store)) {
  mkdirSync(store);
  execFileSync(process.execPath, [program, 'init', store], { stdio: 'inherit' });
  imgstore('commit', '--format', 'raw', raw, '-b', 'disk');
  imgstore('pack');
}
if (!existsSync(qcow2)) execFileSync('qemu-img', ['convert', '-c', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);

const sockets = { imgstore: `${folder}/serve-a.sock`, 'qemu-nbd': `${folder}/serve-b.sock` };
for (const socket of Object.values(sockets)) rmSync(socket, { force: true });
const serve = ['--store', store, 'serve', 'disk', '--socket', sockets.imgstore];
if (cache !== undefined) serve.push('--cache', cache);
const servers = [
  spawn(process.execPath, [program, ...serve], { stdio: 'ignore' }),
  spawn('qemu-nbd', ['-r', '-t', '-e', '16', '-k', sockets['qemu-nbd'], '-f', 'qcow2', qcow2], {
    stdio: 'ignore',
  }),
];
while (!Object.values(sockets).every((socket) => existsSync(socket))) await sleep(50);
await sleep(500);

const size = execFileSync('qemu-img', ['info', '--output=json', raw], { encoding: 'utf8' });
const bytes = JSON.parse(size)['virtual-size'];
const uri = (socket) => `nbd+unix:///?socket=${socket}`;

/** MiB a second. */
function copy(socket) {
  const start = performance.now();
  execFileSync('nbdcopy', [uri(socket), 'null:']);
  return bytes / 2 ** 20 / ((performance.now() - start) / 1000);
}

/** Reads a second. */
function random(socket, block, depth, seed) {
  const args = [
    '--name=x',
    '--ioengine=nbd',
    `--uri=${uri(socket)}`,
    '--rw=randread',
    `--bs=${block}`,
    `--iodepth=${depth}`,
    `--randseed=${seed}`,
    `--size=${bytes}`,
    '--time_based',
    '--runtime=3',
    '--output-format=json',
  ];
  const out = execFileSync('fio', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return JSON.parse(out.slice(out.indexOf('{'))).jobs[0].read.iops;
}

const jobs = { 'nbdcopy, MiB/s': (socket) => copy(socket) };
for (const block of ['4k', '64k'])
  for (const depth of [1, 16])
    jobs[`random ${block}, depth ${depth}, reads/s`] = (socket, round) =>
      random(socket, block, depth, round + 1);

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
for (const [name, job] of Object.entries(jobs)) {
  const results = { imgstore: [], 'qemu-nbd': [] };
  for (let round = 0; round < Number(rounds); round++)
    for (const [server, socket] of Object.entries(sockets)) results[server].push(job(socket, round));
  const [own, other] = [median(results.imgstore), median(results['qemu-nbd'])];
  const row = [
    name.padEnd(32),
    own.toFixed(0).padStart(8),
    other.toFixed(0).padStart(8),
    (own / other).toFixed(2).padStart(6),
  ];
  console.log(row.join(' '));
}
for (const server of servers) server.kill();
