import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { editConfig, withoutSection, withSection } from '../../../store/config/edit.ts';
import { addRemote, findRemote, listRemotes, removeRemote } from '../../../store/remote/remotes.ts';
import { git, tryGit } from '../git.ts';
import { commitBytes, newStore, reopen } from '../new-store.ts';

const VALUES = [
  'plain',
  'a b',
  'with "quotes"',
  'back\\slash',
  'hash#mark',
  'semi;colon',
  'ends in hash #',
  "it's",
  'ünïcödé',
  'tab\tinside',
  '= equals',
  '[brackets]',
  'trailing\\',
];

test.each(VALUES)('withSection writes %j so that git and imgstore read it back', async (value) => {
  const { store, path } = await newStore();
  await editConfig(path, store.rules, withSection('remote', 'we "ir\\d.Name', [['url', value]]));
  expect(await git(path, 'config', 'remote.we "ir\\d.Name.url')).toBe(value);
  expect((await reopen(path)).config.get('remote.we "ir\\d.Name.URL')).toBe(value);
});

test('editConfig leaves everything else as it is when a section comes and goes', async () => {
  const { store, path } = await newStore();
  const file = join(path, 'config');
  const odd = Buffer.concat([
    await readFile(file),
    Buffer.from(
      '# a comment\r\n[user] name = "Z\xfc # x" ; why\n\n\temail=a@b \\\n  c\n[empty]\n# last',
      'latin1',
    ),
  ]);
  await writeFile(file, odd);
  const added = withSection('remote', 'x', [['url', '/srv/x']]);
  await editConfig(path, store.rules, added);
  expect(await git(path, 'config', 'remote.x.url')).toBe('/srv/x');
  await editConfig(path, store.rules, withSection('after', undefined, [['key', 'v']]));
  await editConfig(path, store.rules, withoutSection('remote.x'));
  expect(await readFile(file, 'latin1')).toBe(`${odd.toString('latin1')}\n[after]\n\tkey = v\n`);
});

test('withoutSection keeps comments that stand before the next section', () => {
  const text =
    '[remote "a"] url = 1 # one\n# inside\n\tfetch = x\n# about b\n[remote "b"]\nurl = 2\n[remote "a"]\n';
  expect(withoutSection('remote.a')(text, 'config')).toBe('# about b\n[remote "b"]\nurl = 2\n');
});

test('addRemote makes what git remote understands, and removeRemote takes it and its refs away', async () => {
  const made = await newStore();
  const { store, path } = made;
  const { commit } = await commitBytes(made, 'web', Buffer.alloc(8192, 1));
  await addRemote(store, 'Up', 'ssh://git@example.org/vms.git');
  const again = await reopen(path);
  expect(await git(path, 'remote', '-v')).toContain('Up\tssh://git@example.org/vms.git (push)');
  expect(await git(path, 'config', 'remote.Up.fetch')).toBe('+refs/heads/*:refs/remotes/Up/*');
  expect(listRemotes(again)).toMatchObject([{ name: 'Up', url: 'ssh://git@example.org/vms.git' }]);
  await git(path, 'update-ref', '--create-reflog', 'refs/remotes/Up/web', commit);
  await git(path, 'symbolic-ref', 'refs/remotes/Up/HEAD', 'refs/remotes/Up/web');
  await git(path, 'update-ref', 'refs/remotes/Upper/web', commit);
  expect((await removeRemote(again, 'Up')).refs.toSorted()).toEqual([
    'refs/remotes/Up/HEAD',
    'refs/remotes/Up/web',
  ]);
  expect(tryGit(path, 'config', '--get-regexp', '^remote')).toBeUndefined();
  expect(await git(path, 'for-each-ref', '--format=%(refname)', 'refs/remotes')).toBe(
    'refs/remotes/Upper/web',
  );
  expect(await again.refs.logs.list()).not.toContain('refs/remotes/Up/web');
});

test('addRemote keeps the settings of an S3 remote and refuses them for another', async () => {
  const { store, path } = await newStore();
  const settings = { endpoint: 'http://localhost:8000', pathStyle: true, recipients: '/etc/a b#c' };
  await addRemote(store, 's3', 's3://bucket/vms', settings);
  const again = await reopen(path);
  expect(findRemote(again, 's3')).toMatchObject({ url: 's3://bucket/vms', ...settings });
  expect(await git(path, 'config', '--type=bool', 'remote.s3.pathStyle')).toBe('true');
  await expect(addRemote(again, 'g', '/srv/x', { region: 'eu' })).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining('--region'),
  });
});

test.each([
  ['origin', 'EXISTS'],
  ['origin/x', 'EXISTS'],
  ['', 'BAD_NAME'],
  ['-x', 'BAD_NAME'],
  ['a b', 'BAD_NAME'],
  ['a..b', 'BAD_NAME'],
  ['a\nb', 'BAD_NAME'],
  ['x.lock', 'BAD_NAME'],
  ['a:b', 'BAD_NAME'],
])('addRemote refuses the name %j', async (name, code) => {
  const { store, path } = await newStore();
  await addRemote(store, 'origin', '/srv/x');
  const before = await readFile(join(path, 'config'), 'utf8');
  await expect(addRemote(await reopen(path), name, '/srv/y')).rejects.toMatchObject({ code });
  expect(await readFile(join(path, 'config'), 'utf8')).toBe(before);
});

test.each(['', '-oProxyCommand=x', '--upload-pack=x', 'ext::sh -c x', 'fd::3', 'a\nb', 'a\x1bb', ' x'])(
  'addRemote refuses the URL %j',
  async (url) => {
    const { store, path } = await newStore();
    await expect(addRemote(store, 'x', url)).rejects.toMatchObject({ code: 'USAGE' });
    expect(listRemotes(await reopen(path))).toEqual([]);
  },
);

test('findRemote takes origin, or the only one, when none is named', async () => {
  const { store, path } = await newStore();
  expect(() => findRemote(store, undefined)).toThrow(/remote add/);
  await addRemote(store, 'a', '/srv/a');
  expect(findRemote(await reopen(path), undefined).name).toBe('a');
  await addRemote(await reopen(path), 'b', '/srv/b');
  const two = await reopen(path);
  expect(() => findRemote(two, undefined)).toThrow(/a, b/);
  await addRemote(two, 'origin', '/srv/o');
  expect(findRemote(await reopen(path), undefined).name).toBe('origin');
});

test('names of remotes that differ in case only are two remotes', async () => {
  const { store, path } = await newStore();
  await addRemote(store, 'Web', '/srv/upper');
  await addRemote(await reopen(path), 'web', '/srv/lower');
  const again = await reopen(path);
  expect([findRemote(again, 'Web').url, findRemote(again, 'web').url]).toEqual(['/srv/upper', '/srv/lower']);
});
