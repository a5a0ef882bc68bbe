import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Store } from '../../store/index.ts';
import { serveControl } from '../../store/serve/session/control/serve-control.ts';
import { Sessions } from '../../store/serve/session/sessions.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';
import { ID, NUMBER } from './shapes.ts';

const CLUSTER = 65536;

/** A store with a branch `web`, a session on it that was written to, and what a server has. */
async function place() {
  const at = await Workplace.withStore();
  await writeDisk(at, 'web.raw', 1, 3, 4);
  await at.ok('commit', 'web.raw');
  const store = await Store.open(at.path('.imgstore'));
  onTestFinished(() => store.close());
  const sessions = await Sessions.open(store, { address: { path: at.path('nbd.sock') } });
  onTestFinished(() => sessions.close());
  const web = (await sessions.export('web'))!;
  await web.write!(5, Buffer.alloc(CLUSTER, 9));
  return { at, sessions, web };
}

test('session commits, lists and discards overlays when no server runs', async () => {
  const { at, sessions, web } = await place();
  expect(oneLine(await at.run('session', 'commit', 'web'))).toMatch(/web\.qcow2: is open in .*--socket/);
  await web.release();
  await sessions.close();
  const base = at.git('rev-parse', 'web');
  const overlay = at.path('.imgstore/imgstore/sessions/web.qcow2');
  const session = {
    name: 'web',
    branch: 'web',
    base,
    disk: 'vda',
    last: base,
    overlay,
    overlayBytes: NUMBER,
  };
  expect(await at.json('session')).toEqual({
    server: null,
    sessions: [{ ...session, changedBytes: null, connections: null }],
  });
  expect(await at.ok('session', 'list')).toMatch(
    /^SESSION +BASE +LAST +CHANGED +OVERLAY +CLIENTS\nweb +[0-9a-f]{12} +[0-9a-f]{12} +- +\d.* +-\nno server runs\n$/,
  );
  const made = await at.json('session', 'commit', 'web', '-m', 'While it ran');
  expect(made).toEqual({
    session: 'web',
    commit: ID,
    tree: ID,
    branch: 'web',
    parents: [base],
    newBranch: false,
    newObjects: NUMBER,
    newClusters: 2,
    readBytes: 2 * CLUSTER,
    storedBytes: NUMBER,
    unchanged: false,
    seconds: NUMBER,
  });
  expect(at.git('log', '-1', '--format=%s', 'web')).toBe('While it ran');
  expect(await at.ok('session', 'commit', 'web')).toBe(`web: unchanged, still ${made.commit.slice(0, 12)}\n`);
  expect(await at.ok('session', 'commit', 'web', '-b', 'fork')).toMatch(
    /^fork: unchanged, still [0-9a-f]{12}\n$/,
  );
  at.fsck();
  expect(await at.ok('session', 'discard', 'web')).toBe('web: discarded\n');
  expect(await at.ok('session')).toBe('');
  expect(at.git('for-each-ref', '--format=%(refname)')).toBe('refs/heads/fork\nrefs/heads/web');
});

test('session asks the server that has the sessions open', async () => {
  const { at, sessions, web } = await place();
  const control = await serveControl({ connections: 1 }, sessions, at.path('nbd.sock.control'));
  onTestFinished(() => control.close());
  const socket = ['--socket', at.path('nbd.sock')];
  expect(await at.json('session', ...socket)).toMatchObject({
    server: process.pid,
    sessions: [{ name: 'web', changedBytes: 2 * CLUSTER, connections: 1 }],
  });
  expect(await at.ok('session', 'commit', 'web', ...socket)).toMatch(
    /^\[web [0-9a-f]{12}\]\n {2}2 new clusters, 128 KiB read\n {2}\d+ objects, .* stored in \d.* s\n$/,
  );
  expect(await at.ok('session', ...socket)).toMatch(/ 0 bytes .* 1\n$/);
  const busy = await at.run('session', 'discard', 'web', ...socket);
  expect(oneLine(busy)).toBe("session 'web' has 1 client: stop what uses it, or pass --force");
  expect(busy.status).toBe(1);
  expect(await at.json('session', 'discard', 'web', '--force', ...socket)).toEqual({
    session: 'web',
    discarded: true,
  });
  await expect(web.write!(0, Buffer.alloc(1))).rejects.toMatchObject({ code: 'IN_USE' });
  await writeDisk(at, 'web.raw', 2, 3, 4);
  const again = (await sessions.export('web'))!;
  await again.write!(0, Buffer.alloc(1, 7));
  await at.ok('commit', 'web.raw');
  const moved = await at.run('session', 'commit', 'web', ...socket);
  expect(oneLine(moved)).toMatch(/^session 'web' stands on .* moved to .*--branch$/);
  expect(moved.status).toBe(4);
});

test('session refuses an overlay that this store did not write, in one line, and lists the others', async () => {
  const { at, sessions, web } = await place();
  await web.release();
  await sessions.close();
  const other = await place();
  await other.web.release();
  await other.sessions.close();
  await other.at.run('session');
  const folder = at.path('.imgstore/imgstore/sessions');
  copyFileSync(other.at.path('.imgstore/imgstore/sessions/web.qcow2'), join(folder, 'evil.qcow2'));
  writeFileSync(join(folder, 'none.qcow2'), 'no image');
  const listed = await at.run('session', '--json');
  expect(JSON.parse(listed.stdout).sessions).toMatchObject([{ name: 'web' }]);
  expect(listed.stderr).toContain(
    'evil.qcow2: does not say surely what it stands on: this store did not write that',
  );
  expect(listed.stderr).toContain('none.qcow2');
  const refused = await at.run('session', 'commit', 'evil');
  expect(oneLine(refused)).toContain("store it with 'imgstore commit --stored-base");
  expect(at.git('for-each-ref', '--format=%(refname)', 'refs/heads')).toBe('refs/heads/web');
});

test.each([
  [['session', 'frob'], 2, 'session frob: there is list, commit and discard'],
  [['session', 'toString'], 2, 'there is list, commit and discard'],
  [['session', 'commit'], 2, 'session commit needs the name of a session'],
  [['session', 'list', 'web'], 2, 'session list takes no name'],
  [['session', 'discard', 'web', '-m', 'x'], 2, 'session discard has no --message'],
  [['session', 'commit', 'web', '--force'], 2, 'session commit has no --force'],
  [['session', 'commit', 'nothing'], 1, "no session 'nothing'"],
  [['session', 'discard', '../../config'], 1, "no session '../../config'"],
])('%j is refused in one line', async (args, status, message) => {
  const at = await Workplace.withStore();
  const outcome = await at.run(...args);
  expect(outcome.status).toBe(status);
  expect(oneLine(outcome)).toContain(message);
});
