/**
 * `imgstore commit --push` to an S3 server beside `restic backup` to the same one, in turn: the first version of a disk, and versions after a change of 64 KiB. Medians of seconds, and what went over the network.
 *
 * usage: node bench/remote/compare.mjs QCOW2 [ROUNDS]     after `npm run build`; needs restic, qemu-io and Ceph's packages (see CONTRIBUTING.md)
 *
 * The server is a Ceph Object Gateway of its own on loopback, with its objects in memory. Before the rounds both tools do everything once by way of a proxy that counts; that run is not timed.
 */
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { AwsClient } from 'aws4fetch';

const CHANGE_BYTES = 64 * 1024;
/** Small changes in each round. */
const CHANGES = 3;
const REQUEST = /(?:^|\r\n|\})(?:GET|PUT|POST|HEAD|DELETE) \/\S* HTTP\/1\.1\r\n/g;

if (isMainThread) await main();
else await count();

async function main() {
  const [disk, rounds = '5'] = process.argv.slice(2);
  if (disk === undefined) {
    console.error('usage: compare.mjs QCOW2 [ROUNDS]');
    process.exit(2);
  }
  const work = mkdtempSync(join(process.env.TMPDIR ?? '/var/tmp', 'imgstore-bench-remote-'));
  const server = await startServer();
  try {
    const counter = await startCounter(server.endpoint, work);
    const counted = await series(disk, work, { ...server, endpoint: counter.endpoint }, counter.take);
    await counter.stop();
    const times = [];
    for (let round = 0; round < Number(rounds); round++)
      times.push(await series(disk, work, server, () => undefined));
    print(counted, times);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Everything once with both tools. @returns rows by job and tool */
async function series(disk, work, { endpoint, accessKeyId, secretAccessKey }, take) {
  const bucket = `bench-${Math.random().toString(16).slice(2, 12)}`;
  const client = new AwsClient({ accessKeyId, secretAccessKey, service: 's3', region: 'us-east-1' });
  await client.fetch(`${endpoint}/${bucket}`, { method: 'PUT' });
  const env = {
    ...process.env,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_DEFAULT_REGION: 'us-east-1',
    RESTIC_PASSWORD: 'bench',
    RESTIC_CACHE_DIR: join(work, 'restic-cache'),
    GIT_AUTHOR_NAME: 'bench',
    GIT_AUTHOR_EMAIL: 'bench@example.org',
    GIT_COMMITTER_NAME: 'bench',
    GIT_COMMITTER_EMAIL: 'bench@example.org',
  };
  const folder = join(work, 'run');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const run = (command, ...args) =>
    execFileSync(command, args, { env, cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
  const program = fileURLToPath(new URL('../../dist/cmd/main.js', import.meta.url));
  // Each has a store of its own: neither finds in it what the other has stored.
  const stores = { imgstore: join(folder, 'plain'), 'imgstore --track': join(folder, 'tracked') };
  const imgstore = (tool, ...args) => run(process.execPath, program, '-q', '--store', stores[tool], ...args);
  const repository = `s3:${endpoint}/${bucket}/restic`;
  const copies = {
    restic: join(folder, 'a.qcow2'),
    imgstore: join(folder, 'b.qcow2'),
    'imgstore --track': join(folder, 'c.qcow2'),
  };
  for (const copy of Object.values(copies)) copyFileSync(disk, copy);
  run('restic', '-q', '-r', repository, 'init');
  for (const tool of Object.keys(stores)) {
    run(process.execPath, program, '-q', 'init', stores[tool]);
    imgstore(tool, 'remote', 'add', 'origin', `s3://${bucket}/${basename(stores[tool])}`, '--no-probe');
  }
  const backup = () => run('restic', '-q', '-r', repository, 'backup', copies.restic);
  const rows = [];
  const measure = async (job, tool, work) => {
    execFileSync('sync');
    for (const copy of Object.values(copies)) execFileSync('cat', [copy], { stdio: 'ignore' });
    await take();
    const began = performance.now();
    work();
    const seconds = (performance.now() - began) / 1000;
    rows.push({ job, tool, seconds, traffic: await take() });
  };
  await measure('first', 'restic', backup);
  await measure('first', 'imgstore', () =>
    imgstore('imgstore', 'commit', copies.imgstore, '-b', 'web', '--push'),
  );
  // The same bytes, kept track of, to a place of their own.
  imgstore('imgstore --track', 'commit', copies['imgstore --track'], '-b', 'web', '--track', '--push');
  for (let change = 0; change < CHANGES; change++) {
    const at = (change + 1) * 33 * 2 ** 20;
    for (const copy of Object.values(copies))
      run('qemu-io', '-f', 'qcow2', '-c', `write -P ${0x31 + change} ${at} ${CHANGE_BYTES}`, copy);
    // So that nothing is as young as the tick of the clock by which files are stamped.
    await sleep(100);
    await measure('small change', 'restic', backup);
    for (const tool of Object.keys(stores))
      await measure('small change', tool, () =>
        imgstore(tool, 'commit', copies[tool], '-b', 'web', '--push'),
      );
  }
  return rows;
}

function print(counted, times) {
  const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
  const all = times.flat();
  for (const job of ['first', 'small change']) {
    const of = (tool) =>
      all.filter((row) => row.job === job && row.tool === tool).map(({ seconds }) => seconds);
    const peer = median(of('restic'));
    for (const tool of ['restic', 'imgstore', 'imgstore --track']) {
      const seconds = of(tool);
      if (seconds.length === 0) continue;
      const traffic = counted.filter((row) => row.job === job && row.tool === tool).map((row) => row.traffic);
      const cells = [
        job.padEnd(14),
        tool.padEnd(18),
        `${median(seconds).toFixed(2)} s`.padStart(9),
        `${(peer / median(seconds)).toFixed(2)} x`.padStart(8),
        `${(median(traffic.map(({ sent }) => sent)) / 1024).toFixed(0)} KiB sent`.padStart(18),
        `${(median(traffic.map(({ received }) => received)) / 1024).toFixed(0)} KiB received`.padStart(20),
        `${median(traffic.map(({ requests }) => requests))} requests`.padStart(14),
      ];
      console.log(cells.join(' '));
    }
  }
}

async function startServer() {
  const supervisor = fileURLToPath(new URL('../../test/remote/rgw-supervisor.mjs', import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), 'imgstore-rgw-bench-'));
  const child = spawn(process.execPath, [supervisor, folder, String(process.pid)], {
    detached: true,
    stdio: 'ignore',
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  child.unref();
  for (;;) {
    await sleep(200);
    if (existsSync(join(folder, 'failed'))) throw new Error(readFileSync(join(folder, 'failed'), 'utf8'));
    if (existsSync(join(folder, 'ready.json')))
      return JSON.parse(readFileSync(join(folder, 'ready.json'), 'utf8'));
  }
}

/** A proxy in a thread of its own, as the tools are waited for in this one. */
async function startCounter(endpoint) {
  const shared = new SharedArrayBuffer(4 * 8);
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { endpoint, shared } });
  const port = await new Promise((resolve) => worker.once('message', resolve));
  const numbers = new Float64Array(shared);
  let before = [0, 0, 0];
  const take = async () => {
    // What a tool has sent last may still be on its way through the proxy.
    await sleep(200);
    const now = [...numbers.subarray(0, 3)];
    const [requests, sent, received] = now.map((value, i) => value - before[i]);
    before = now;
    return { requests, sent, received };
  };
  return { endpoint: `http://127.0.0.1:${port}`, take, stop: () => worker.terminate() };
}

/** In the thread: requests, bytes to the server, bytes from it. */
async function count() {
  const { parentPort } = await import('node:worker_threads');
  const { endpoint, shared } = workerData;
  const numbers = new Float64Array(shared);
  const { port } = new URL(endpoint);
  const server = createServer((near) => {
    const far = connect(Number(port), '127.0.0.1');
    for (const socket of [near, far]) socket.on('error', () => {});
    near.on('data', (chunk) => {
      numbers[1] += chunk.length;
      numbers[0] += chunk.toString('latin1').match(REQUEST)?.length ?? 0;
    });
    far.on('data', (chunk) => {
      numbers[2] += chunk.length;
    });
    near.pipe(far).pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
}
