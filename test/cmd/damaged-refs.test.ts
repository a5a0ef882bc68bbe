import { rmSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Workplace } from './imgstore.ts';
import { sampleStores } from './sample.ts';

const sample = sampleStores();

/** A store in which branch `db` and tag `v1` cannot be read, and `web-test` has lost its parent. */
async function damagedStore(): Promise<Workplace> {
  const place = await sample();
  const id = place.git('rev-parse', 'web-test~1');
  writeFileSync(place.path('.imgstore/refs/heads/db'), '');
  writeFileSync(place.path('.imgstore/refs/tags/v1'), 'junk\n');
  rmSync(place.path('.imgstore/objects', id.slice(0, 2), id.slice(2)));
  return place;
}

test.each([
  ['images', ['db', 'web', 'web-test']],
  ['branch', ['db', 'web', 'web-test']],
  ['stats', ['db', 'web', 'web-test']],
  ['tag', ['v1', 'v2']],
] as const)(
  '%s lists what is damaged with a key of its own, says so once, and exits with 3',
  async (verb, names) => {
    const place = await damagedStore();
    const outcome = await place.run(verb, '--json', '--quiet');
    expect(outcome.status).toBe(3);
    const document = JSON.parse(outcome.stdout);
    const list: { name: string; damaged?: string }[] = verb === 'stats' ? document.images : document;
    expect(list.map(({ name }) => name)).toEqual(names);
    const messages = list.flatMap(({ damaged }) => damaged ?? []);
    expect(messages.length).toBeGreaterThan(0);
    expect(outcome.stderr).toBe(messages.map((message) => `imgstore: ${message}\n`).join(''));
    expect((await place.run(verb)).stdout).toContain(names.at(-1));
  },
);

test('log lists the versions that can be reached and exits with 3', async () => {
  const place = await damagedStore();
  const outcome = await place.run('log', '--json');
  expect(outcome.status).toBe(3);
  expect(outcome.stderr).toContain("branch 'db': ");
  const log = JSON.parse(outcome.stdout) as { message: string; damaged?: string }[];
  expect(log.map(({ message }) => message).sort()).toEqual(['a fork', 'second']);
  expect(log.some(({ damaged }) => damaged?.includes('the parent of version'))).toBe(true);
  expect((await place.run('log', 'db')).status).toBe(1);
});

test('branch and tag put damaged refs right, and git reads the store again', async () => {
  const place = await damagedStore();
  expect(await place.json('branch', '-d', 'db')).toEqual({ name: 'db', deleted: null });
  expect(await place.ok('tag', '-d', 'v1')).toBe("removed tag 'v1' (could not be read)\n");
  expect(place.git('for-each-ref', '--format=%(refname:short)')).toBe('web\nweb-test\nv2');
});
