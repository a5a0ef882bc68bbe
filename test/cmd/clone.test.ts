import { execSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { cutAfter, fakeSsh, STALL } from '../store/remote/places.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

/** Runs git outside of any store. */
function git(place: Workplace, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync('git', args, { cwd: place.folder, env: place.environment });
  if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr.toString()}`);
}

test.each([
  ['--bare', '64K', 'copy.git'],
  ['--mirror', '64K', 'a copy'],
  ['--bare', '4K', 'small.git'],
])(
  'a clone by git clone %s of a store of %s is a store after what the message says',
  async (kind, size, name) => {
    const place = await Workplace.withStore('--cluster-size', size);
    await writeDisk(place, 'web.raw', 1, undefined, 2);
    await place.ok('commit', 'web.raw', '-m', 'first');
    await place.ok('tag', 'v1');
    git(place, 'clone', '-q', kind, '.imgstore', name);
    const copy = ['--store', place.path(name)];

    const refused = await place.run(...copy, 'log');
    expect(refused.status).toBe(1);
    const message = oneLine(refused);
    expect(message).toContain(
      `${place.path(name)}/config: has no imgstore.version: if this is a clone of a store, run git -C `,
    );
    const command = /run (git -C .* config imgstore.version 1) \(/.exec(message)![1]!;
    execSync(command);
    if (size !== '64K') execSync(command.replace('imgstore.version 1', 'imgstore.clusterSize 4096'));

    await writeDisk(place, 'web.raw', 1, 3, 2);
    const result = await place.json(...copy, 'commit', 'web.raw', '-m', 'second');
    expect(result).toMatchObject({ unchanged: false, disks: [{ newClusters: size === '64K' ? 1 : 16 }] });
    await place.ok(...copy, 'checkout', 'web', '-o', 'out.raw');
    expect((await readFile(place.path('out.raw'))).equals(await readFile(place.path('web.raw')))).toBe(true);
    await place.ok(...copy, 'compare', 'web', 'out.raw');
    await place.ok(...copy, 'checkout', 'v1', '-o', 'old.raw');
    await place.ok('compare', 'web', 'old.raw');
    git(place, '-C', name, 'fsck', '--full', '--strict');
  },
);

/** What clone makes beside a store's place. */
function unfinished(place: Workplace, folder: string): string[] {
  return readdirSync(place.path(folder)).filter((name) => name.startsWith('.imgstore.tmp_'));
}

test('clone makes a store with a branch for each image, and --json one document', async () => {
  const place = await Workplace.create();
  await place.ok('init', 'a', '--cluster-size', '4K');
  for (const name of ['web', 'db']) {
    await writeDisk(place, `${name}.raw`, name.length);
    await place.ok('--store', 'a', 'commit', `${name}.raw`);
  }
  await place.ok('--store', 'a', 'tag', 'v1', 'web');
  const result = await place.json('clone', 'a', 'deep/b');
  expect(result).toEqual({
    store: place.path('deep/b/.imgstore'),
    remote: 'origin',
    branches: ['db', 'web'],
    rejected: [],
    objects: expect.any(Number),
    receivedBytes: expect.any(Number),
    seconds: expect.any(Number),
  });
  const copy = ['--store', place.path('deep/b')];
  expect(await place.json(...copy, 'images')).toHaveLength(2);
  expect(await place.json(...copy, 'tag')).toMatchObject([{ name: 'v1' }]);
  // New versions share clusters with those that came.
  expect(await place.json(...copy, 'commit', 'web.raw', '-b', 'again')).toMatchObject({ unchanged: true });
  git(place, '--git-dir', 'deep/b/.imgstore', 'fsck', '--full', '--strict');
  expect(await place.ok(...copy, 'log', 'HEAD', '--oneline', '-n', '1')).not.toBe('');

  const one = await place.json('clone', 'a', 'c', '--branch', 'db');
  expect(one.branches).toEqual(['db']);
  await place.ok('--store', 'a', 'branch', 'more', 'web');
  expect(await place.ok('--store', 'c', 'fetch')).toBe('nothing new\n');
});

test('clone of an empty remote makes an empty store, which a push fills', async () => {
  const place = await Workplace.withStore();
  git(place, 'init', '-q', '--bare', '--object-format=sha256', 'empty.git');
  expect((await place.json('clone', 'empty.git', 'b')).branches).toEqual([]);
  await writeDisk(place, 'web.raw', 1);
  await place.ok('--store', 'b', 'commit', 'web.raw');
  await place.ok('--store', 'b', 'push');
});

function allNames(place: Workplace): string[] {
  return readdirSync(place.folder, { recursive: true }).map(String).sort();
}

test.each([
  [['clone', 'nowhere', 'b'], 1],
  [['clone', 'a', 'b', '--branch', 'nosuch'], 1],
  [['clone', 'a', 'a'], 1],
  [['clone', 'a', 'a/.imgstore'], 1],
  [['clone', 'ext::sh -c id', 'b'], 2],
  [['clone', 'a', 'b', '--endpoint', 'http://x'], 2],
  [['clone', 'a', 'file'], 1],
  [['clone', 'a'], 2],
] as const)('imgstore %j fails with one line and leaves nothing behind', async (args, status) => {
  const place = await Workplace.create();
  await place.ok('init', 'a');
  await writeDisk(place, 'web.raw', 1);
  await place.ok('--store', 'a', 'commit', 'web.raw');
  await writeDisk(place, 'file', 1);
  const before = allNames(place);
  const outcome = await place.run(...args);
  expect(outcome.status).toBe(status);
  oneLine(outcome);
  expect(allNames(place)).toEqual(before);
});

test.each(['SIGINT', 'SIGKILL'] as const)('clone stopped by %s can be run again', async (signal) => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'big.raw', ...Array.from({ length: 20 }, (_, i) => 100 + i));
  await place.ok('commit', 'big.raw');
  const url = `host:${place.path('.imgstore')}`;
  const env = await fakeSsh(cutAfter(500_000, STALL));
  await mkdir(place.path('b'));
  const { child, finished } = place.start(['clone', url, 'b'], { env });
  while (!readdirSync(place.path('b'), { recursive: true }).some((name) => String(name).includes('tmp_pack')))
    await sleep(20);
  child.kill(signal);
  await finished;
  expect(existsSync(place.path('b/.imgstore'))).toBe(false);
  expect(unfinished(place, 'b')).toHaveLength(signal === 'SIGINT' ? 0 : 1);
  const again = await place.start(['clone', url, 'b'], { env: await fakeSsh() }).finished;
  expect(again).toMatchObject({ status: 0 });
  expect(unfinished(place, 'b')).toEqual([]);
  await place.ok('--store', 'b', 'compare', 'big', 'big.raw');
});

test('clone says of a remote without branches that nothing was pushed there yet', async () => {
  const place = await Workplace.create();
  git(place, 'init', '-q', '--bare', '--object-format=sha256', 'empty.git');
  expect(await place.ok('clone', 'empty.git', 'copy')).toMatch(
    /^made a store in .* with 0 branches\n.*\nnothing was pushed there yet: see whether the URL is right\n$/,
  );
});
