import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { oneLine, type Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';
import { leftovers, twoStores } from './two-stores.ts';

function gitIn(place: Workplace, repository: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('git', ['--git-dir', place.path(repository), ...args], {
    env: place.environment,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return stdout.trim();
}

test('push sends all branches, tells what it did and what was rejected', async () => {
  const place = await twoStores();
  await writeDisk(place, 'web.raw', 1, 3, 2);
  await place.ok('--store', 'a', 'commit', 'web.raw', '-m', 'theirs');
  expect(await place.ok('--store', 'a', 'push')).toMatch(
    /^forward {2}web {2}[0-9a-f]{12}\.\.[0-9a-f]{12}\n\d+ objects, .* sent in .* s\n$/,
  );
  expect(await place.ok('--store', 'a', 'push')).toBe('everything is there already\n');
  await writeDisk(place, 'web.raw', 1, 4, 2);
  const { commit } = await place.json('--store', 'b', 'commit', 'web.raw', '-m', 'ours');
  await writeDisk(place, 'db.raw', 9);
  await place.ok('--store', 'b', 'commit', 'db.raw');
  const outcome = await place.run('--store', 'b', 'push', '--json');
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toMatch(/^push: web: rejected: .*imgstore fetch/);
  const { updates, objects, sentBytes } = JSON.parse(outcome.stdout);
  expect(updates).toMatchObject([
    { ref: 'refs/heads/db', from: null, kind: 'new' },
    { ref: 'refs/heads/web', to: commit, kind: 'rejected', reason: expect.any(String) },
  ]);
  expect(Object.keys(updates[0])).toEqual(['ref', 'from', 'to', 'kind']);
  expect([objects, sentBytes > 60_000]).toEqual([6, true]);
  expect(gitIn(place, 'remote.git', 'fsck', '--full', '--strict', '--no-dangling')).toBe('');

  expect((await place.run('--store', 'b', 'push', 'origin', 'web', '--force-with-lease')).status).toBe(1);
  await place.ok('--store', 'b', 'fetch');
  expect(await place.ok('--store', 'b', 'push', 'origin', 'web', '--force-with-lease')).toMatch(
    /^forced {2}web/,
  );
  expect(gitIn(place, 'remote.git', 'rev-parse', 'web')).toBe(commit);
  expect(await place.ok('--store', 'b', 'push', 'origin', '-d', 'db')).toMatch(/^deleted {2}db {2}was /);
});

test('commit --push stores nothing when there is no such remote, and says what is stored when it cannot be pushed', async () => {
  const place = await twoStores();
  await writeDisk(place, 'web.raw', 1, 3, 2);
  const before = await place.ok('--store', 'a', 'log');
  const unknown = await place.run('--store', 'a', 'commit', 'web.raw', '--push', 'nobody');
  expect(unknown.status).toBe(1);
  expect(oneLine(unknown)).toMatch(/^no remote 'nobody': see 'imgstore remote'/);
  expect(await place.ok('--store', 'a', 'log')).toBe(before);
  await rm(place.path('remote.git'), { recursive: true });
  const gone = await place.run('--store', 'a', 'commit', 'web.raw', '--push');
  expect(gone.status).toBe(1);
  expect(oneLine(gone)).toMatch(/^web [0-9a-f]{12} is stored here, and was not pushed: /);
  expect(await place.ok('--store', 'a', 'log', '-n', '1')).not.toBe(before);
});

test('push tells what the remote says to people, and why it refuses', async () => {
  const place = await twoStores();
  const hook = place.path('remote.git/hooks/update');
  await writeFile(hook, '#!/bin/sh\necho "ask \\033[31mthe admin" >&2\nexit 1\n');
  await chmod(hook, 0o755);
  await writeDisk(place, 'web.raw', 1, 3, 2);
  await place.ok('--store', 'a', 'commit', 'web.raw');
  const outcome = await place.run('--store', 'a', 'push');
  expect(outcome.status).toBe(1);
  expect(outcome.stderr).toContain('remote: ask the admin\n');
  expect(outcome.stderr).toMatch(/imgstore: push: web: rejected: the remote refuses it: hook declined\n/);
});

test("push runs no hook of the store, and works on it whatever the caller's variables say", async () => {
  const place = await twoStores();
  const hook = place.path('a/.imgstore/hooks/pre-push');
  spawnSync('mkdir', ['-p', place.path('a/.imgstore/hooks')]);
  await writeFile(hook, `#!/bin/sh\ntouch '${place.path('ran')}'\n`);
  await chmod(hook, 0o755);
  const env = {
    GIT_DIR: '/nowhere',
    GIT_OBJECT_DIRECTORY: '/nowhere',
    GIT_NAMESPACE: 'x',
    GIT_WORK_TREE: '/nowhere',
  };
  const { finished } = place.start(['--store', 'a', 'push', 'origin', 'web:copy'], { env });
  expect(await finished).toMatchObject({ status: 0, stderr: '' });
  expect(gitIn(place, 'remote.git', 'rev-parse', 'copy')).toBe(
    gitIn(place, 'a/.imgstore', 'rev-parse', 'web'),
  );
  expect(spawnSync('ls', [place.path('ran')]).status).not.toBe(0);
});

test.each(['SIGINT', 'SIGKILL'] as const)(
  'push stopped by %s half-way moves nothing, and can be run again',
  async (signal) => {
    const place = await twoStores();
    await writeDisk(place, 'big.raw', ...Array.from({ length: 20 }, (_, i) => 100 + i));
    await place.ok('--store', 'a', 'commit', 'big.raw');
    // The remote has all objects, and thinks about it.
    const hook = place.path('remote.git/hooks/pre-receive');
    await writeFile(hook, `#!/bin/sh\ntouch '${place.path('thinks')}'\nsleep 300\nexit 1\n`);
    await chmod(hook, 0o755);
    const { child, finished } = place.start(['--store', 'a', 'push', 'origin', 'big']);
    while (!existsSync(place.path('thinks'))) await sleep(20);
    child.kill(signal);
    await finished;
    if (signal === 'SIGINT') expect(leftovers(place, 'a')).toEqual([]);
    expect(gitIn(place, 'remote.git', 'for-each-ref', '--format=%(refname)')).toBe('refs/heads/web');
    await rm(hook);
    await place.ok('--store', 'a', 'push', 'origin', 'big');
    expect(gitIn(place, 'remote.git', 'rev-parse', 'big')).toBe(
      gitIn(place, 'a/.imgstore', 'rev-parse', 'big'),
    );
    expect(gitIn(place, 'remote.git', 'fsck', '--full', '--strict', '--no-dangling')).toBe('');
  },
);

test.each([
  [['push', '--delete'], 2],
  [['push', 'origin', '--delete', '--tags', 'web'], 2],
  [['push', 'origin', '--force-with-lease', 'web'], 2],
  [['push', 'nosuch'], 1],
  [['push', 'origin', 'nosuch'], 1],
  [['push', 'origin', ':nosuch'], 1],
  [['push', 'origin', '--force-with-lease=web:nosuch', 'web'], 1],
  [['push', 'origin', `--force-with-lease=web:${'ab'.repeat(32)}`, 'web'], 1],
] as const)('imgstore %j fails with one line', async (args, status) => {
  const place = await twoStores();
  const outcome = await place.run('--store', 'a', ...args);
  expect(outcome.status).toBe(status);
  oneLine(outcome);
});

test('push of a store without versions says that there is nothing to push', async () => {
  const place = await twoStores();
  await place.ok('init', 'c');
  await place.ok('--store', 'c', 'remote', 'add', 'origin', place.path('remote.git'));
  const text = 'nothing to push: there is no such branch or tag here yet\n';
  expect(await place.ok('--store', 'c', 'push')).toBe(text);
});

test('push --force-with-lease takes the whole id of a version that only the remote has', async () => {
  const place = await twoStores();
  await writeDisk(place, 'web.raw', 1, 3, 2);
  const { commit } = await place.json('--store', 'a', 'commit', 'web.raw', '-m', 'theirs');
  await place.ok('--store', 'a', 'push');
  await writeDisk(place, 'web.raw', 1, 4, 2);
  await place.ok('--store', 'b', 'commit', 'web.raw', '-m', 'ours');
  const short = await place.run('--store', 'b', 'push', `--force-with-lease=web:${commit.slice(0, 12)}`);
  expect(oneLine(short)).toMatch(/^--force-with-lease=web:[0-9a-f]{12}: unknown revision .* whole id/);
  expect(await place.ok('--store', 'b', 'push', `--force-with-lease=web:${commit}`)).toMatch(
    /^forced {2}web/,
  );
});

test('push and fetch make no branch or tag that would be taken for HEAD, an option or an id, and remove those that git has made', async () => {
  const place = await twoStores();
  const before = gitIn(place, 'remote.git', 'for-each-ref');
  await place.ok('init', 'c');
  await place.ok('--store', 'a', 'remote', 'add', 'beside', place.path('c'));
  for (const name of ['HEAD', 'refs/heads/HEAD', 'refs/tags/HEAD', '-x', 'ab'.repeat(32)]) {
    for (const remote of ['origin', 'beside']) {
      const pushed = await place.run('--store', 'a', 'push', remote, `web:${name}`, '--force');
      expect(pushed.status).toBe(1);
      expect(oneLine(pushed)).toMatch(/: rejected: '.*' cannot name a (branch|tag): it .*: choose another/);
    }
    const fetched = await place.run('--store', 'a', 'fetch', 'origin', `+web:${name}`);
    expect(fetched.status).toBe(1);
    expect(oneLine(fetched)).toMatch(/: rejected: '.*' cannot name a (branch|tag): it .*: choose another/);
  }
  expect(gitIn(place, 'remote.git', 'for-each-ref')).toBe(before);
  expect(gitIn(place, 'c/.imgstore', 'for-each-ref')).toBe('');
  expect(await place.ok('--store', 'a', 'branch')).not.toContain('HEAD');

  gitIn(place, 'remote.git', 'update-ref', 'refs/heads/HEAD', 'web');
  await writeDisk(place, 'web.raw', 1, 3, 2);
  await place.ok('--store', 'a', 'commit', 'web.raw');
  expect(await place.ok('--store', 'a', 'push', 'origin', 'web:HEAD')).toMatch(/^forward {2}HEAD/);
  expect(await place.ok('--store', 'a', 'push', 'origin', '--delete', 'HEAD')).toMatch(/^deleted {2}HEAD/);
});
