/**
 * Runs a Ceph Object Gateway of its own on this machine as long as another process lives: one monitor, one storage daemon with its objects in memory, and the gateway. Nothing of it is reached from
 * elsewhere. When it is up, `ready.json` says where and as whom; when it cannot be started, `failed` says why.
 *
 * Usage: node rgw-supervisor.mjs FOLDER PID
 *
 * @module
 */
import { execFile, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const [folder, owner] = [process.argv[2], Number(process.argv[3])];
const configuration = join(folder, 'ceph.conf');
/** A step that takes longer will not end. */
const STEP_MS = 60_000;
const children = [];
/** What became of those of them that have ended. */
const ended = [];

const watch = setInterval(() => isAlive(owner) || void stop(), 300);
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => void stop());
try {
  await publish('ready.json', JSON.stringify(await start()));
} catch (error) {
  await end();
  await publish('failed', `${error.stderr ?? ''}${error.message}`.trim());
}

async function start() {
  const [monitor, gateway] = [await freePort(), await freePort()];
  const credentials = {
    accessKeyId: randomBytes(10).toString('hex'),
    secretAccessKey: randomBytes(20).toString('base64'),
  };
  const [cluster, storage] = [randomUUID(), randomUUID()];
  for (const name of ['mon', 'osd', 'rgw']) await mkdir(join(folder, name));
  // Nobody needs a key, but the gateway ends without a file for them, which it looks for in its own folder.
  for (const name of ['keyring', 'rgw/keyring']) await writeFile(join(folder, name), '');
  await writeFile(configuration, configurationText(cluster, monitor, gateway));
  const map = join(folder, 'monmap');
  await command('monmaptool', '--create', '--add', 'a', `127.0.0.1:${monitor}`, '--fsid', cluster, map);
  await command('ceph-mon', '--mkfs', '-i', 'a', '--monmap', map);
  daemon('ceph-mon', '-f', '-i', 'a');
  await command('ceph', 'osd', 'new', storage);
  await command('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', storage);
  daemon('ceph-osd', '-f', '-i', '0');
  const { accessKeyId, secretAccessKey } = credentials;
  const keys = [`--access-key=${accessKeyId}`, `--secret-key=${secretAccessKey}`];
  await command('radosgw-admin', 'user', 'create', '--uid=test', '--display-name=test', ...keys);
  daemon('radosgw', '-f', '-n', 'client.admin');
  const endpoint = `http://127.0.0.1:${gateway}`;
  await answers(endpoint);
  return { endpoint, ...credentials };
}

/** Without authentication inside: whoever reaches the ports is on this machine. */
function configurationText(cluster, monitor, gateway) {
  return `[global]
fsid = ${cluster}
mon_host = 127.0.0.1:${monitor}
mon_initial_members = a
public_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_cluster_mode = crc
ms_mon_service_mode = crc
ms_mon_client_mode = crc
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
run_dir = ${folder}
admin_socket =
log_file = ${folder}/$name.log
mon_cluster_log_file = ${folder}/cluster.log
keyring = ${folder}/keyring
[mon]
mon_data = ${folder}/mon
[osd]
osd_data = ${folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 17179869184
[client]
rgw_data = ${folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:${gateway}
rgw_enable_apis = s3
`;
}

/** A daemon that dies with this process, even when that is killed. */
function daemon(name, ...args) {
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', name, ...args, '-c', configuration], {
    stdio: 'ignore',
  });
  children.push(child);
  const over = (how) => {
    ended.push(`${name} ended: ${how}`);
    children.splice(children.indexOf(child), 1);
  };
  child.once('error', (error) => over(error.message));
  child.once('exit', (code, signal) => over(signal ?? code));
}

async function command(name, ...args) {
  await run(name, [...args, '-c', configuration], { timeout: STEP_MS, killSignal: 'SIGKILL' });
}

async function answers(endpoint) {
  const end = Date.now() + STEP_MS;
  for (;;) {
    if (ended.length > 0) throw new Error(`${ended.join(', ')}\n${await lastLines()}`);
    try {
      return await (await fetch(endpoint)).text();
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(100);
    }
  }
}

async function lastLines() {
  const texts = ['mon.a.log', 'osd.0.log', 'client.admin.log'].map((name) =>
    readFile(join(folder, name), 'utf8').catch(() => ''),
  );
  return (await Promise.all(texts)).map((text) => text.split('\n').slice(-4).join('\n')).join('');
}

async function stop() {
  clearInterval(watch);
  await end();
  await rm(folder, { recursive: true, force: true });
  process.exit();
}

async function end() {
  const gone = children.map((child) => once(child, 'exit'));
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(gone);
}

async function publish(name, text) {
  await writeFile(join(folder, `${name}.new`), text);
  await rename(join(folder, `${name}.new`), join(folder, name));
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
