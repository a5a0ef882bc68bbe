import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { oneLine, Workplace } from './imgstore.ts';
import { twoStores } from './two-stores.ts';

test('remote adds, lists and removes remotes, as git sees them', async () => {
  const place = await Workplace.withStore();
  expect(await place.ok('remote')).toBe('');
  expect(await place.json('remote', 'add', 'up', 'ssh://git:secret@example.org/vms.git')).toEqual({
    name: 'up',
    url: 'ssh://git@example.org/vms.git',
  });
  await place.ok('remote', 'add', 'nas', '../nas');
  expect(await place.ok('remote')).toBe(
    `nas  ${place.path('..', 'nas')}\nup   ssh://git@example.org/vms.git\n`,
  );
  expect(await place.json('remote', 'list')).toMatchObject([
    { name: 'nas', fetch: ['+refs/heads/*:refs/remotes/nas/*'] },
    { name: 'up', url: 'ssh://git@example.org/vms.git', pushUrl: null },
  ]);
  expect(place.git('remote', 'get-url', 'up')).toBe('ssh://git:secret@example.org/vms.git');
  expect(await place.json('remote', 'remove', 'nas')).toEqual({ name: 'nas', removed: [] });
  expect(place.git('remote')).toBe('up');
});

test.each([
  [['remote', 'add', 'x'], 2],
  [['remote', 'add', 'x', 'ext::sh -c id'], 2],
  [['remote', 'add', '--', 'x', '-oProxyCommand=id'], 2],
  [['remote', 'add', 'x', '/srv', '--region', 'eu'], 2],
  [['remote', 'add', 'x', 's3://b', '--endpoint', 'nowhere'], 2],
  [['remote', 'add', 'x', 's3:bucket/vms'], 2],
  [['remote', 'add', 'a b', '/srv'], 1],
  [['remote', 'remove', 'x'], 1],
  [['remote', 'remove'], 2],
  [['remote', 'list', '--path-style'], 2],
  [['remote', 'rename', 'x', 'y'], 2],
  [['ls-remote'], 1],
  [['ls-remote', 'nosuch'], 1],
  [['ls-remote', 'ext::sh -c id'], 2],
  [['remote', 'add', 'x', '/nowhere', '--probe'], 1],
] as const)('imgstore %j fails with one line and changes nothing', async (args, status) => {
  const place = await Workplace.withStore();
  const config = await readFile(place.path('.imgstore/config'));
  const outcome = await place.run(...args);
  expect(outcome.status).toBe(status);
  oneLine(outcome);
  expect((await readFile(place.path('.imgstore/config'))).equals(config)).toBe(true);
});

test('remote keeps the settings of an S3 remote, with paths that hold from everywhere', async () => {
  const place = await Workplace.withStore();
  const options = [
    '--endpoint',
    'http://localhost:1',
    '--path-style',
    '--recipients',
    'keys.txt',
    '--no-probe',
  ];
  await place.ok('remote', 'add', 's3', 's3://bucket/vms', ...options);
  expect(place.git('config', 'remote.s3.recipients')).toBe(place.path('keys.txt'));
  expect(place.git('config', '--type=bool', 'remote.s3.pathStyle')).toBe('true');
  expect(await place.json('remote')).toMatchObject([{ endpoint: 'http://localhost:1', pathStyle: true }]);
});

test('ls-remote lists the refs of a remote by name and by URL', async () => {
  const place = await twoStores();
  const { commit } = (await place.json('--store', 'a', 'log'))[0];
  await place.ok('--store', 'a', 'tag', 'v1', '-m', 'annotated');
  await place.ok('--store', 'a', 'push', 'origin', 'v1');
  const listed = await place.json('--store', 'b', 'ls-remote');
  expect(listed).toMatchObject({
    url: place.path('remote.git'),
    refs: [
      { ref: 'refs/heads/web', id: commit },
      { ref: 'refs/tags/v1', peeled: commit },
    ],
  });
  expect(await place.json('--store', 'b', 'ls-remote', './remote.git')).toEqual(listed);
  expect(await place.json('--store', 'b', 'ls-remote', `file://${place.path('a')}`)).toMatchObject({
    head: 'refs/heads/web',
  });
  expect(await place.ok('--store', 'b', 'ls-remote', 'a/.imgstore')).toMatch(
    /^[0-9a-f]{12} {2}web +\(HEAD\)$/m,
  );
});
