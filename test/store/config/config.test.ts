import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Config, loadConfig } from '../../../store/config/config.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { gitWith } from '../git.ts';

/** Config files in a home of their own, and the environment to load them with. */
async function home(files: Readonly<Record<string, string>>) {
  const folder = await temporaryFolder();
  await mkdir(join(folder, 'xdg/git'), { recursive: true });
  await mkdir(join(folder, '.config/git'), { recursive: true });
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const at = (name: string) => join(folder, name);
  const environment: NodeJS.ProcessEnv = { HOME: folder, GIT_CONFIG_NOSYSTEM: '1' };
  return { at, environment };
}

test('Config.get gives the last value of a key, whatever case it is asked in', () => {
  const config = new Config([
    { key: 'a.b', value: '1' },
    { key: 'a.b', value: '2' },
  ]);
  expect(config.get('A.B')).toBe('2');
  expect(config.get('a.c')).toBeUndefined();
});

test.each([
  ['65536', 65536],
  ['64k', 65536],
  ['1M', 2 ** 20],
  ['2g', 2 ** 31],
  ['0', 0],
])('Config.number reads %s', (value, expected) => {
  expect(new Config([{ key: 'a.b', value }]).number('a.b', 7)).toBe(expected);
});

test('Config.number gives the fall-back when there is no value', () => {
  expect(new Config([]).number('a.b', 7)).toBe(7);
});

test.each(['', 'many', '-1', '1.5', '1k5', '99999999999999999999'])(
  'Config.number throws BAD_STORE for %j',
  (value) => {
    expect(() => new Config([{ key: 'a.b', value }]).number('a.b', 7)).toThrow(
      expect.objectContaining({ code: 'BAD_STORE', message: expect.stringContaining('a.b') }),
    );
  },
);

test('loadConfig lets the store win over the user and the user over the XDG folder', async () => {
  const one = (key: string) => `[t]\n\t${key} = `;
  const { at, environment } = await home({
    '.config/git/config': `${one('x')}xdg\n${one('y')}xdg\n${one('z')}xdg\n`,
    '.gitconfig': `${one('y')}home\n${one('z')}home\n`,
    store: `${one('z')}store\n`,
  });
  const config = await loadConfig(at('store'), environment);
  expect(['t.x', 't.y', 't.z'].map((key) => config.get(key))).toEqual(['xdg', 'home', 'store']);
});

test('loadConfig finds the XDG folder by its variable, and ignores an empty one', async () => {
  const { at, environment } = await home({
    'xdg/git/config': '[t]\n\tx = variable\n',
    '.config/git/config': '[t]\n\tx = default\n',
    store: '',
  });
  const get = async (folder: string) =>
    (await loadConfig(at('store'), { ...environment, XDG_CONFIG_HOME: folder })).get('t.x');
  expect(await get(at('xdg'))).toBe('variable');
  expect(await get('')).toBe('default');
});

test('loadConfig reads the file of GIT_CONFIG_GLOBAL instead of those of the home', async () => {
  const { at, environment } = await home({
    '.gitconfig': '[t]\n\tx = home\n\ty = home\n',
    other: '[t]\n\tx = other\n',
    store: '',
  });
  const config = await loadConfig(at('store'), { ...environment, GIT_CONFIG_GLOBAL: at('other') });
  expect([config.get('t.x'), config.get('t.y')]).toEqual(['other', undefined]);
  const none = await loadConfig(at('store'), { ...environment, GIT_CONFIG_GLOBAL: '' });
  expect(none.get('t.x')).toBeUndefined();
});

test('loadConfig does without files that are not there', async () => {
  const { at, environment } = await home({});
  expect((await loadConfig(at('store'), environment)).get('t.x')).toBeUndefined();
});

test('loadConfig puts an included file in the place of the line that names it, as git does', async () => {
  const { at, environment } = await home({
    store:
      '[t]\n\ta = 1\n\tb = 1\n[include]\n\tpath = sub/more\n\tpath = ~/tilde\n\tpath = gone\n[t]\n\tb = 3\n',
    tilde: '[t]\n\tc = tilde\n',
  });
  await mkdir(at('sub'));
  await writeFile(at('sub/more'), '[t]\n\ta = 2\n\tb = 2\n[include]\n\tpath = deeper\n');
  await writeFile(at('sub/deeper'), '[t]\n\td = 4\n');
  const config = await loadConfig(at('store'), environment);
  const keys = ['t.a', 't.b', 't.c', 't.d'];
  const git = keys.map((key) =>
    gitWith(at('.'), { env: environment }, 'config', '--includes', '--file', at('store'), key),
  );
  expect(keys.map((key) => config.get(key))).toEqual(git);
  expect(git).toEqual(['2', '3', 'tilde', '4']);
});

test('loadConfig throws BAD_STORE when files include each other', async () => {
  const { at, environment } = await home({
    store: '[include]\n\tpath = other\n',
    other: '[include]\n\tpath = store\n',
  });
  await expect(loadConfig(at('store'), environment)).rejects.toMatchObject({ code: 'BAD_STORE' });
});

test('loadConfig takes ten files that include one another in a row', async () => {
  const files = Array.from({ length: 10 }, (_, i) => [`f${i}`, `[include]\n\tpath = f${i + 1}\n`] as const);
  const { at, environment } = await home({ ...Object.fromEntries(files), f10: '[t]\n\tx = deep\n' });
  expect((await loadConfig(at('f0'), environment)).get('t.x')).toBe('deep');
});

test('loadConfig throws IO for a config that is a folder', async () => {
  const { at, environment } = await home({});
  await mkdir(at('store'));
  await expect(loadConfig(at('store'), environment)).rejects.toMatchObject({ code: 'IO' });
});

/** Runs the test as somebody who is not above permissions. */
function actAsNobody(): void {
  if (process.geteuid?.() !== 0) return;
  process.seteuid?.(65534);
  onTestFinished(() => process.seteuid?.(0));
}

test.each(['.gitconfig', '.config/git/config'])(
  'loadConfig leaves out a %s that may not be read, with a notice, as git does',
  async (name) => {
    const { at, environment } = await home({ [name]: '[t]\n\tx = 1\n', store: '[t]\n\ty = 2\n' });
    await chmod(at('.'), 0o755);
    await chmod(at(name), 0);
    actAsNobody();
    expect(gitWith(at('.'), { env: environment }, 'config', '--file', at('store'), 't.y')).toBe('2');
    const notices: string[] = [];
    const config = await loadConfig(at('store'), environment, (notice) => notices.push(notice));
    expect(config.get('t.y')).toBe('2');
    expect(notices).toEqual([`${at(name)}: permission denied: its settings are left out`]);
  },
);

test('loadConfig throws IO naming the config of the store, or what a file includes, when it may not be read', async () => {
  const { at, environment } = await home({
    '.gitconfig': '[include]\n\tpath = more\n',
    more: '',
    store: '',
  });
  await chmod(at('.'), 0o755);
  await chmod(at('more'), 0);
  actAsNobody();
  const load = () => loadConfig(at('store'), environment);
  await expect(load()).rejects.toMatchObject({ code: 'IO', message: `${at('more')}: permission denied` });
  if (process.getuid?.() === 0) process.seteuid?.(0);
  await chmod(at('more'), 0o644);
  await chmod(at('store'), 0);
  actAsNobody();
  await expect(load()).rejects.toMatchObject({ code: 'IO', message: `${at('store')}: permission denied` });
});

test.each(['path', 'path =', 'path = .', 'path = ~nobody/x', 'path = /dev/null', 'path = a\\0b'])(
  'loadConfig goes on or says what is wrong with [include] %s',
  async (line) => {
    const { at, environment } = await home({ store: `[include]\n\t${line}\n[t]\n\tx = 1\n` });
    const outcome = await loadConfig(at('store'), environment).catch((error: unknown) => error);
    if (outcome instanceof Config) expect(outcome.get('t.x')).toBe('1');
    else expect(outcome).toMatchObject({ name: 'ImgstoreError', message: expect.stringContaining(at('.')) });
  },
);

test('Config.own has the assignments of the store alone, without what it includes', async () => {
  const { at, environment } = await home({
    '.gitconfig': '[t]\n\tx = user\n',
    more: '[t]\n\tx = included\n',
    store: '[t]\n\tx = own\n[include]\n\tpath = more\n',
  });
  const { own } = await loadConfig(at('store'), environment);
  expect(own.filter(({ key }) => key === 't.x')).toEqual([{ key: 't.x', value: 'own' }]);
});
