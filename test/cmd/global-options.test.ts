import { execFileSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { VERBS } from '../../cmd/verbs.ts';
import { oneLine, sharedWorkplace, Workplace } from './imgstore.ts';
import { fillSampleStore, writeDisk } from './sample.ts';

const place = sharedWorkplace(async (made) => {
  await fillSampleStore(made);
  await mkdir(made.path('below/deeper'), { recursive: true });
  await made.ok('checkout', 'web', '-o', 'on.qcow2', '--backing', 'chain');
  await made.ok('checkout', 'web', '-o', 'lazy.qcow2', '--backing', 'nbd', '--no-serve');
  execFileSync('git', ['init', '-q', '--bare', '--object-format=sha256', made.path('other.git')]);
  await made.ok('remote', 'add', 'origin', made.path('other.git'));
  await made.ok('push');
});

const NAMES = ['db', 'web', 'web-test'];

function names(stdout: string): string[] {
  return (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name);
}

test('a store is found from a folder below it when none is named', async () => {
  const { stdout } = await place().start(['images', '--json'], { cwd: place().path('below/deeper') })
    .finished;
  expect(names(stdout)).toEqual(NAMES);
});

test.each([
  ['before the verb', (folder: string) => ['-C', folder, '--json', 'images']],
  ['after the verb', (folder: string) => ['images', '-C', folder, '--json']],
  ['on both sides', (folder: string) => ['--json', 'images', '-C', folder]],
])('-C changes the folder when it stands %s', async (_where, args) => {
  const elsewhere = await Workplace.create();
  const { status, stdout } = await elsewhere.run(...args(place().path('below')));
  expect(status).toBe(0);
  expect(names(stdout)).toEqual(NAMES);
});

test.each([
  ['before the verb', (store: string) => ['--store', store, 'images', '--json']],
  ['after the verb', (store: string) => ['images', '--store', store, '--json']],
  ['with =', (store: string) => ['images', `--store=${store}`, '--json']],
])('--store names the store when it stands %s', async (_where, args) => {
  const elsewhere = await Workplace.create();
  for (const store of [place().folder, place().path('.imgstore')])
    expect(names((await elsewhere.run(...args(store))).stdout)).toEqual(NAMES);
});

test('IMGSTORE_DIR names the store, and --store wins over it', async () => {
  const elsewhere = await Workplace.withStore();
  const env = { IMGSTORE_DIR: place().path('.imgstore') };
  expect(names((await elsewhere.start(['images', '--json'], { env }).finished).stdout)).toEqual(NAMES);
  const named = elsewhere.start(['images', '--json', '--store', '.'], { env });
  expect(names((await named.finished).stdout)).toEqual([]);
});

test('--json, -q and -v are taken when they stand before the verb', async () => {
  expect(names((await place().run('--json', 'images')).stdout)).toEqual(NAMES);
  expect(await place().run('-q', 'images')).toMatchObject({ status: 0, stdout: '', stderr: '' });
  expect(await place().run('images', '--quiet')).toMatchObject({ status: 0, stdout: '', stderr: '' });
  expect((await place().run('-v', '--no-progress', 'images')).status).toBe(0);
});

const ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  commit: ['web.raw'],
  show: ['web'],
  checkout: ['web'],
  cat: ['web'],
  diff: ['web~1', 'web'],
  compare: ['web', 'web'],
  map: ['web'],
  forget: ['web', '--keep-last', '9'],
  import: ['web.raw'],
  rebase: ['on.qcow2', '--onto', 'web'],
  serve: ['--idle-exit', '0'],
  hydrate: ['lazy.qcow2'],
  mount: ['web', '.'],
  session: ['list'],
};
const NEED_STORE = VERBS.map(({ name }) => name).filter(
  (name) => !['init', 'clone', 'info', 'check'].includes(name),
);

test.each(NEED_STORE)('%s exits with 5 and tells how to make a store when there is none', async (verb) => {
  const elsewhere = await Workplace.create();
  await writeDisk(elsewhere, 'web.raw', 1);
  const outcome = await elsewhere.run(verb, ...(ARGUMENTS[verb] ?? []));
  expect(outcome).toMatchObject({ status: 5, stdout: '' });
  expect(oneLine(outcome)).toContain("run 'imgstore init'");

  const json = await elsewhere.run(verb, ...(ARGUMENTS[verb] ?? []), '--json');
  expect(json.status).toBe(5);
  expect(JSON.parse(json.stdout)).toEqual({ error: { code: 'NO_STORE', message: oneLine(json) } });
});

test('a store that is named and not there is told by its name', async () => {
  const outcome = await place().run('images', '--store', 'nowhere');
  expect(outcome.status).toBe(5);
  expect(oneLine(outcome)).toContain(place().path('nowhere'));
});

/** One goes on until it is told to end, the other needs a bucket: s3-remote.test.ts. */
const ELSEWHERE = ['mount', 'verify'];

test.each(NEED_STORE.filter((name) => !ELSEWHERE.includes(name)))(
  '%s --json prints exactly one document',
  async (verb) => {
    const more = verb === 'checkout' ? ['-o', `${verb}.qcow2`] : [];
    const stdout = await place().ok(
      verb,
      ...(ARGUMENTS[verb] ?? []),
      ...more,
      ...(verb === 'cat' ? [] : ['--json']),
    );
    if (verb === 'cat') return;
    expect(stdout).toMatch(/^[^\n]+\n$/);
    JSON.parse(stdout);
  },
);

test.each([
  ['NOT_FOUND', 1, ['show', 'nothing']],
  ['USAGE', 2, ['show', 'web~x']],
  ['USAGE', 2, ['frobnicate']],
  ['USAGE', 2, ['log', '--frobnicate']],
  ['BAD_NAME', 1, ['branch', 'a..b']],
  ['EXISTS', 1, ['tag', 'v1']],
  ['NOT_FOUND', 1, ['commit', 'missing.raw']],
] as const)(
  'an error of code %s is one JSON document and one line when --json is given',
  async (code, status, args) => {
    const outcome = await place().run(...args, '--json');
    expect(outcome.status).toBe(status);
    expect(outcome.stdout).toMatch(/^[^\n]+\n$/);
    expect(JSON.parse(outcome.stdout)).toEqual({ error: { code, message: oneLine(outcome) } });
  },
);

test.each([
  [['images', 'x'], "too many arguments for 'images': Expected 0 arguments but got 1: see"],
  [['log', '-n', 'x'], "'-n, --max-count <n>' argument 'x' is invalid: 'x' is not a number: see"],
  [['info', ''], "value '' is invalid for argument 'image': a name of a file or folder is empty: see"],
  [
    ['checkout', 'web', '--compress', 'a. b'],
    "argument 'a. b' is invalid: Allowed choices are zlib, zstd: see",
  ],
] as const)('a usage error of %j is one line with colons between its parts', async (args, part) => {
  const outcome = await place().run(...args);
  expect(outcome.status).toBe(2);
  expect(oneLine(outcome)).toContain(part);
});

test('--verbose adds the origin of a failure to its line', async () => {
  const { stderr } = await place().run('show', 'nothing', '--verbose');
  expect(stderr).toMatch(/^imgstore: unknown revision 'nothing'[^\n]*\n[\s\S]*^ +at /m);
});
