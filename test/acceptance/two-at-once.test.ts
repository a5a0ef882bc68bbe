import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { oneLine, Workplace } from '../cmd/imgstore.ts';
import { writeDisk } from '../cmd/sample.ts';
import { listStore, unfinished } from '../cmd/store-files.ts';

const CLUSTERS = 640;

/** Runs git on the store beside other work; fails as git does. */
function git(place: Workplace, ...args: readonly string[]) {
  return promisify(execFile)('git', ['--git-dir', place.path('.imgstore'), ...args], {
    env: place.environment,
  });
}

/** A place with images of 40 MiB, all different, by number. */
async function withImages(count: number): Promise<Workplace> {
  const place = await Workplace.withStore();
  for (let image = 0; image < count; image++) {
    const seeds = Array.from({ length: CLUSTERS }, (_, i) => image * CLUSTERS + i);
    await writeDisk(place, `${image}.raw`, ...seeds);
  }
  return place;
}

test('two commits at once to two branches both land', async () => {
  const place = await withImages(2);
  const outcomes = await Promise.all([
    place.run('commit', '0.raw', '-b', 'a'),
    place.run('commit', '1.raw', '-b', 'b'),
  ]);
  expect(outcomes.map(({ status, stderr }) => ({ status, stderr }))).toEqual([
    { status: 0, stderr: '' },
    { status: 0, stderr: '' },
  ]);
  expect((await place.run('compare', 'a', '0.raw')).status).toBe(0);
  expect((await place.run('compare', 'b', '1.raw')).status).toBe(0);
  expect(unfinished(await listStore(place.path('.imgstore')))).toEqual([]);
  place.fsck();
});

test('of two commits at once to one branch one lands, and the other one exits with 4 and says why', async () => {
  const place = await withImages(3);
  let collisions = 0;
  for (let round = 0; round < 4; round++) {
    // The first round makes the branch, the others move it.
    const versions = round === 0 ? 0 : (await place.json('log', 'web')).length;
    const files = ['0.raw', '1.raw', '2.raw'].filter((_, i) => i !== round % 3);
    const outcomes = await Promise.all(
      files.map((file) => place.run('commit', file, '-b', 'web', '--allow-empty', '-m', file)),
    );
    const landed = outcomes.filter(({ status }) => status === 0).length;
    expect((await place.json('log', 'web')).length).toBe(versions + landed);
    if (landed === 2) continue; // One was through before the other one began.
    collisions++;
    expect(landed).toBe(1);
    const loser = outcomes.find(({ status }) => status !== 0)!;
    expect(loser).toMatchObject({ status: 4, stdout: '' });
    expect(oneLine(loser)).toMatch(
      round === 0
        ? /^'web' was made by another process meanwhile/
        : /^'web' moved from [0-9a-f]{12} to [0-9a-f]{12} meanwhile/,
    );
    const winner = files[outcomes.findIndex(({ status }) => status === 0)]!;
    expect((await place.run('compare', 'web', winner)).status).toBe(0);
    place.fsck();
  }
  expect(collisions).toBeGreaterThan(0);
  expect(unfinished(await listStore(place.path('.imgstore')))).toEqual([]);
});

test('commits, checkouts and git fsck at once do not disturb each other', async () => {
  const place = await withImages(3);
  await place.ok('commit', '0.raw', '-b', 'a');
  const outcomes = await Promise.all([
    place.run('commit', '1.raw', '-b', 'b'),
    place.run('checkout', 'a', '-o', 'a.qcow2'),
    git(place, 'fsck', '--full', '--strict', '--no-progress', '--no-dangling').then(() => ({ status: 0 })),
    place.run('commit', '2.raw', '-b', 'c'),
    place.run('log', '--all'),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual([0, 0, 0, 0, 0]);
  expect((await place.run('compare', 'a', 'a.qcow2')).status).toBe(0);
  place.fsck();
});
