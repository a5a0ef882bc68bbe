import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { qemuBytes, qemuImg } from '../qcow2/qemu.ts';
import { oneLine, type Running, Workplace } from './imgstore.ts';
import { CLUSTER, disk, fillSampleStore, writeDisk } from './sample.ts';
import { ID } from './shapes.ts';

const execute = promisify(execFile);
const run = async (command: string, ...args: readonly string[]) => (await execute(command, args)).stdout;

interface Server extends Running {
  readonly uri: (name: string) => string;
}

/** Starts a server, which ends with the test. */
async function serve(place: Workplace, ...args: readonly string[]): Promise<Server> {
  const running = await place.serve(...args, '--json');
  const { uri } = JSON.parse(running.said) as { uri: string };
  const at = uri.indexOf('?');
  const [start, rest] = at < 0 ? [uri, ''] : [uri.slice(0, at), uri.slice(at)];
  return { ...running, uri: (name) => `${start}${encodeURIComponent(name)}${rest}` };
}

async function sample(): Promise<Workplace> {
  const place = await Workplace.create();
  await fillSampleStore(place);
  return place;
}

/** Runs commands of qemu-io on an export, and fails when one of them does. */
async function qemuIo(uri: string, ...commands: readonly string[]): Promise<void> {
  const out = await run('qemu-io', ...commands.flatMap((each) => ['-c', each]), '-f', 'raw', uri);
  if (/failed|error/i.test(out)) throw new Error(out);
}

test('serve shows every branch, tag and commit as an export, with the bytes of the version', async () => {
  const place = await sample();
  const { uri } = await serve(place);
  const { exports } = JSON.parse(await run('nbdinfo', '--list', '--json', uri(''))) as {
    exports: { 'export-name': string; description: string; 'export-size': number; is_read_only: boolean }[];
  };
  const names = exports.map((each) => each['export-name']).sort();
  expect(names).toEqual(['db:vda', 'db:vdb', 'v1', 'v2', 'web', 'web-test']);
  expect(exports.every((each) => each.is_read_only)).toBe(true);
  const id = place.git('rev-parse', 'web');
  expect(exports.find((each) => each['export-name'] === 'web')).toMatchObject({
    description: `${id.slice(0, 12)} second`,
    'export-size': 3 * CLUSTER,
  });
  const [first, second] = [disk(1, undefined, 2), disk(1, 3, undefined)];
  const wanted: [string, Buffer][] = [
    ['web', second],
    ['web~1', first],
    ['v1', first],
    [id.slice(0, 9), second],
    ['web@{1}', first],
    ['db:vdb', disk(5)],
    // What was committed last has two disks, of which none is the one.
    ['web-test', disk(4, undefined, 2)],
  ];
  for (const [name, bytes] of wanted) {
    const copy = place.path('copy.raw');
    await run('nbdcopy', uri(name), copy);
    expect((await readFile(copy)).equals(bytes), name).toBe(true);
    await rm(copy);
  }
  await place.ok('checkout', 'web', '-o', 'web.qcow2');
  expect(await qemuImg('compare', '-f', 'raw', '-F', 'qcow2', uri('web'), place.path('web.qcow2'))).toContain(
    'identical',
  );
  const map = await run('nbdinfo', '--map', uri('web~1'));
  expect(
    map
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).slice(0, 3).map(Number)),
  ).toEqual([
    [0, CLUSTER, 0],
    [CLUSTER, CLUSTER, 3],
    [2 * CLUSTER, CLUSTER, 0],
  ]);
  for (const name of ['nothing', 'db', 'db:vdz', ''])
    await expect(run('nbdinfo', uri(name)), name).rejects.toThrow();
  await expect(qemuIo(uri('web'), 'write 0 512')).rejects.toThrow();
});

test('serve with revisions shows those alone, and one as the default export', async () => {
  const place = await sample();
  const { uri } = await serve(place, 'v1');
  expect(await run('nbdinfo', '--size', uri(''))).toBe(`${3 * CLUSTER}\n`);
  await expect(run('nbdinfo', uri('web'))).rejects.toThrow();
  const none = await place.run('serve', 'nothing');
  expect([none.status, oneLine(none)]).toEqual([1, expect.stringContaining('nothing')]);
});

test('serve shows what is committed while it runs', async () => {
  const place = await sample();
  const { uri } = await serve(place);
  await writeDisk(place, 'new.raw', 8, 9);
  await place.ok('commit', 'new.raw', '-b', 'later');
  await run('nbdcopy', uri('later'), place.path('copy.raw'));
  expect((await readFile(place.path('copy.raw'))).equals(disk(8, 9))).toBe(true);
  await place.ok('pack');
  await run('nbdcopy', uri('web'), place.path('copy2.raw'));
  expect((await readFile(place.path('copy2.raw'))).equals(disk(1, 3, undefined))).toBe(true);
});

test.each(['SIGINT', 'SIGTERM'] as const)('serve ends at %s, and takes its socket away', async (signal) => {
  const place = await sample();
  const { child, finished } = await serve(place);
  const socket = place.path('.imgstore/imgstore/nbd.sock');
  expect(existsSync(socket)).toBe(true);
  child.kill(signal);
  expect(await finished).toMatchObject({ status: 0, stderr: '' });
  expect(existsSync(socket)).toBe(false);
});

test('serve ends by itself when no client was there for some time', async () => {
  const place = await sample();
  const { finished } = await serve(place, '--idle-exit', '1');
  expect(await finished).toMatchObject({ status: 0, stderr: '' });
});

test('serve refuses the socket of a server that runs, and replaces one that was left', async () => {
  const place = await sample();
  const { child, finished } = await serve(place);
  const second = await place.run('serve');
  expect([second.status, oneLine(second)]).toEqual([1, expect.stringContaining('a server listens there')]);
  child.kill('SIGKILL');
  await finished;
  const { uri } = await serve(place);
  expect(await run('nbdinfo', '--size', uri('web'))).toBe(`${3 * CLUSTER}\n`);
});

test('serve --listen serves on a port of this machine alone', async () => {
  const place = await sample();
  const { uri } = await serve(place, '--listen', '127.0.0.1:0');
  expect(uri('web')).toMatch(/^nbd:\/\/127\.0\.0\.1:\d+\/web$/);
  expect(await run('nbdinfo', '--size', uri('web'))).toBe(`${3 * CLUSTER}\n`);
});

test('serve speaks TLS with the certificates of a folder', async () => {
  const place = await sample();
  mkdirSync(place.path('pki'));
  const openssl = (...args: readonly string[]) => run('openssl', ...args);
  const [key, cert] = [place.path('pki/server-key.pem'), place.path('pki/server-cert.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  await openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-keyout',
    key,
    '-out',
    cert,
    ...subject,
  );
  await run('cp', cert, place.path('pki/ca-cert.pem'));
  const { uri } = await serve(place, '--listen', '127.0.0.1:0', '--tls-certificates', place.path('pki'));
  expect(uri('web')).toMatch(/^nbds:/);
  const withCertificates = `${uri('web')}?tls-certificates=${place.path('pki')}`;
  expect(await run('nbdinfo', '--size', withCertificates)).toBe(`${3 * CLUSTER}\n`);
  await expect(run('nbdinfo', '--size', uri('web').replace('nbds:', 'nbd:'))).rejects.toThrow();
});

test.each([
  [['--socket', 'x', '--listen', '127.0.0.1:1'], 'serve takes --socket or --listen'],
  [['--listen', 'a:b:c'], '--listen a:b:c: write an address and a port'],
  [['--tls', 'on'], 'TLS needs certificates'],
  [['--tls', 'maybe'], 'write on or require'],
  [['--overlays', 'x'], '--overlays is for --writable'],
  [['--socket', 'x'.repeat(120)], '107 bytes'],
  [['--cache', 'much'], "'much' is not a size"],
])('serve refuses %j', async (args, message) => {
  const place = await Workplace.withStore();
  const outcome = await place.run('serve', ...args);
  expect([outcome.status, oneLine(outcome)]).toEqual([2, expect.stringContaining(message)]);
});

test('serve --writable keeps what was written, of which session commit makes versions', async () => {
  const place = await sample();
  const before = place.git('rev-parse', 'web');
  const { uri, child, finished } = await serve(place, '--writable');
  const wanted = disk(1, 3, undefined);
  wanted.fill(7, 1000, 3000);
  await qemuIo(uri('web'), 'write -P 7 1000 2000', 'flush');
  const made = await place.json('session', 'commit', 'web', '-m', 'from a guest');
  expect(made).toMatchObject({
    branch: 'web',
    commit: ID,
    parents: [before],
    newClusters: 1,
    readBytes: CLUSTER,
  });
  expect((await place.run('cat', 'web')).bytes.equals(wanted)).toBe(true);
  // Flushed, and not committed: a kill -9 loses nothing of it.
  await qemuIo(uri('web'), 'write -P 8 100k 1k', 'flush');
  wanted.fill(8, 100 * 1024, 101 * 1024);
  child.kill('SIGKILL');
  await finished;
  const again = await serve(place, '--writable');
  const copy = place.path('copy.raw');
  await run('nbdcopy', again.uri('web'), copy);
  expect((await readFile(copy)).equals(wanted)).toBe(true);
  await place.ok('session', 'commit', 'web');
  expect((await place.run('cat', 'web')).bytes.equals(wanted)).toBe(true);
  expect(place.git('fsck', '--full', '--strict')).toBe('');
});

test('serve --writable begins no session for clients that only look', async () => {
  const place = await sample();
  const { uri } = await serve(place, '--writable');
  await run('nbdinfo', '--list', uri(''));
  await run('nbdinfo', '--map', uri('web'));
  await run('nbdcopy', uri('web'), place.path('copy.raw'));
  expect((await readFile(place.path('copy.raw'))).equals(disk(1, 3, undefined))).toBe(true);
  expect(await place.json('session')).toMatchObject({ sessions: [] });
  expect(place.git('for-each-ref', 'refs/imgstore/sessions')).toBe('');
});

test('serve says on standard error which export cannot be opened, and why', async () => {
  const place = await sample();
  const { uri, child, finished } = await serve(place, '--writable');
  const folder = place.path('.imgstore/imgstore/sessions');
  await rm(folder, { recursive: true });
  await expect(run('qemu-img', 'info', uri('web'))).rejects.toThrow('export not available');
  child.kill('SIGINT');
  const { stderr } = await finished;
  expect(stderr).toBe(`imgstore: export "web" cannot be opened: ${folder}: no such file or folder\n`);
});

test('checkout --backing nbd starts a server, on which the overlay is read at once', async () => {
  const place = await sample();
  onTestFinished(async () => {
    spawn('pkill', ['-f', place.path('.imgstore/imgstore/nbd.sock')]);
  });
  await place.ok('checkout', 'web', '-o', 'work.qcow2', '--backing', 'nbd');
  expect((await qemuBytes(place.path('work.qcow2'))).equals(disk(1, 3, undefined))).toBe(true);
});

test('checkout --backing nbd that fails leaves no server that it has started', async () => {
  const place = await sample();
  const { status } = await place.run('checkout', 'no-such-version', '-o', 'work.qcow2', '--backing', 'nbd');
  expect(status).toBe(1);
  const servers = async () => {
    const pids = await readdir('/proc');
    const lines = pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => ''));
    return (await Promise.all(lines)).filter((line) =>
      line.includes(place.path('.imgstore/imgstore/nbd.sock')),
    );
  };
  await expect.poll(servers, { timeout: 60_000 }).toEqual([]);
  expect(existsSync(place.path('work.qcow2'))).toBe(false);
});
