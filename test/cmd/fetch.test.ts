import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { cutAfter, fakeSsh, STALL } from '../store/remote/places.ts';
import { oneLine, type Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';
import { leftovers, twoStores } from './two-stores.ts';

/** Waits until git writes a pack into the folder of a fetch. */
async function untilReceiving(place: Workplace, store: string): Promise<void> {
  while (!leftovers(place, store).some((name) => /tmp_fetch.*\/tmp_pack/.test(name))) await sleep(20);
}

test('fetch prints what is new, and --json one document', async () => {
  const place = await twoStores();
  await writeDisk(place, 'web.raw', 1, 3, 2);
  const { commit } = await place.json('--store', 'a', 'commit', 'web.raw', '-m', 'second');
  await place.ok('--store', 'a', 'push', 'origin', 'web', 'web~1:refs/heads/old');
  const text = await place.ok('--store', 'b', 'fetch');
  expect(text).toMatch(
    /^new {6}origin\/old {2}[0-9a-f]{12}\nforward {2}origin\/web {2}[0-9a-f]{12}\.\.[0-9a-f]{12}\n\d+ objects, .* received in .* s\n$/,
  );
  expect(text).toContain(commit.slice(0, 12));
  expect(await place.ok('--store', 'b', 'fetch')).toBe('nothing new\n');
  expect(await place.json('--store', 'b', 'fetch', 'origin', 'web')).toEqual({
    remote: 'origin',
    updates: [{ ref: 'refs/remotes/origin/web', from: commit, to: commit, kind: 'unchanged' }],
    objects: 0,
    receivedBytes: 0,
    seconds: expect.any(Number),
  });
  expect(await place.ok('--store', 'b', 'log', 'origin/web', '--oneline')).toContain('second');
  expect(await place.ok('--store', 'b', 'log', '--oneline')).not.toContain('second');
  expect(await place.ok('--store', 'b', 'log', '--all', '--oneline')).toContain('(origin/web) second');
  expect(await place.json('--store', 'b', 'images')).toHaveLength(1);
  await place.ok('--store', 'b', 'checkout', 'refs/remotes/origin/web', '-o', 'out.raw');
  await place.ok('--store', 'a', 'compare', 'web', 'out.raw');
});

test('fetch exits with 1 and one line when a ref is rejected or not there', async () => {
  const place = await twoStores();
  const { commit } = (await place.json('--store', 'b', 'log'))[0];
  await writeDisk(place, 'other.raw', 9);
  await place.ok('--store', 'b', 'commit', 'other.raw', '-b', 'mine');
  const rejected = await place.run('--store', 'b', 'fetch', 'origin', 'web:mine', '--json');
  expect(rejected.status).toBe(1);
  expect(oneLine(rejected)).toMatch(/^fetch: mine: rejected: .*\+/);
  expect(JSON.parse(rejected.stdout).updates).toMatchObject([
    { ref: 'refs/heads/mine', to: commit, kind: 'rejected' },
  ]);
  const missing = await place.run('--store', 'b', 'fetch', 'origin', 'nosuch');
  expect(missing.status).toBe(1);
  expect(oneLine(missing)).toContain("no branch or tag 'nosuch'");
  expect(oneLine(await place.run('--store', 'b', 'fetch', 'nosuch'))).toContain("no remote 'nosuch'");
});

test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)(
  'fetch stopped by %s half-way leaves nothing but what the next removes',
  async (signal) => {
    const place = await twoStores();
    await writeDisk(place, 'big.raw', ...Array.from({ length: 20 }, (_, i) => 100 + i));
    await place.ok('--store', 'a', 'commit', 'big.raw');
    await place.ok('--store', 'a', 'push');
    await place.ok('--store', 'b', 'remote', 'add', 'far', `host:${place.path('remote.git')}`);
    // It stalls in the middle of the pack.
    const env = await fakeSsh(cutAfter(500_000, STALL));
    const { child, finished } = place.start(['--store', 'b', 'fetch', 'far'], { env });
    await untilReceiving(place, 'b');
    child.kill(signal);
    const outcome = await finished;
    if (signal === 'SIGKILL') expect(outcome.signal).toBe('SIGKILL');
    else {
      expect(outcome.status).toBe(130);
      expect(oneLine(outcome)).toContain('interrupted');
      expect(leftovers(place, 'b')).toEqual([]);
    }
    expect(await place.json('--store', 'b', 'branch')).toHaveLength(1);
    await place.ok('--store', 'b', 'fsck');
    await place.ok('--store', 'b', 'fetch', 'origin');
    expect(leftovers(place, 'b').filter((name) => name.includes('tmp_'))).toEqual([]);
    await place.ok('--store', 'b', 'checkout', 'origin/big', '-o', 'out.raw');
    await place.ok('--store', 'a', 'compare', 'big', 'out.raw');
  },
);
