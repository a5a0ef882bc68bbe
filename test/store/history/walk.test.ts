import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeCommit, encodeTree, type ObjectId } from '../../../objects/index.ts';
import { walkCommits } from '../../../store/history/walk.ts';
import type { Store } from '../../../store/index.ts';
import { git } from '../git.ts';
import { newStore } from '../new-store.ts';
import { PERSON, someCommits } from '../refs/some-refs.ts';

/** For each commit its parents, by number and all smaller than its own, and when it was made. */
type Plan = readonly { readonly parents: readonly number[]; readonly seconds: number }[];

const plans: fc.Arbitrary<Plan> = fc
  .array(fc.tuple(fc.uniqueArray(fc.nat(), { maxLength: 3 }), fc.nat(12)), { minLength: 1, maxLength: 14 })
  .map((list) =>
    list.map(([parents, seconds], i) => ({
      parents: i === 0 ? [] : [...new Set(parents.map((parent) => parent % i))],
      seconds: PERSON.seconds + seconds,
    })),
  );

async function make(store: Store, plan: Plan): Promise<ObjectId[]> {
  const transaction = store.begin();
  const tree = await transaction.put('tree', encodeTree([]));
  const ids: ObjectId[] = [];
  for (const [i, { parents, seconds }] of plan.entries()) {
    const committer = { ...PERSON, seconds };
    const above = parents.map((parent) => ids[parent]!);
    const commit = { tree, parents: above, author: PERSON, committer, message: `${i}\n`, extra: [] };
    ids.push(await transaction.put('commit', encodeCommit(commit)));
  }
  await transaction.publish();
  await transaction.discard();
  return ids;
}

test('walkCommits comes to what git rev-list comes to, each once, newest first, no parent before its child', async () => {
  const { store, path } = await newStore();
  await fc.assert(
    fc.asyncProperty(plans, fc.array(fc.nat(), { minLength: 1, maxLength: 3 }), async (plan, picks) => {
      const ids = await make(store, plan);
      const starts = picks.map((pick) => ids[pick % ids.length]!);
      const walked = [...walkCommits(store.objects, starts)];
      const order = walked.map(({ id }) => id);
      const expected = (await git(path, 'rev-list', '--date-order', ...starts)).split('\n');
      expect([...order].sort()).toEqual([...expected].sort());
      const seconds = (id: ObjectId) => plan[ids.indexOf(id)]!.seconds;
      // git may order commits of one second in another way: what it says is compared by date.
      expect(order.map(seconds)).toEqual(expected.map(seconds));
      for (const { id, commit } of walked)
        for (const parent of commit.parents) expect(order.indexOf(parent)).toBeGreaterThan(order.indexOf(id));
    }),
    { numRuns: 40 },
  );
});

test('walkCommits says by which start each commit was found first', async () => {
  const { store } = await newStore();
  const base = await someCommits(store, 2);
  const a = await someCommits(store, 1, [base[1]!]);
  const b = await someCommits(store, 2, [base[1]!, a[0]!]);
  const found = new Map([...walkCommits(store.objects, [a[0]!, b[1]!])].map(({ id, start }) => [id, start]));
  expect([base[0]!, base[1]!, a[0]!].map((id) => found.get(id))).toEqual([0, 0, 0]);
  expect(b.map((id) => found.get(id))).toEqual([1, 1]);
});

test('walkCommits goes through a history of many thousand commits', async () => {
  const { store } = await newStore();
  const ids = await someCommits(store, 5000);
  expect([...walkCommits(store.objects, [ids.at(-1)!])].map(({ id }) => id)).toEqual(ids.toReversed());
});

test('walkCommits throws NOT_FOUND naming a parent that is not in the store', async () => {
  const { store } = await newStore();
  const [id] = await someCommits(store, 1, ['e'.repeat(64)]);
  expect(() => [...walkCommits(store.objects, [id!])]).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND', message: expect.stringContaining('e'.repeat(64)) }),
  );
});

test('walkCommits yields nothing without a start', async () => {
  const { store } = await newStore();
  expect([...walkCommits(store.objects, [])]).toEqual([]);
});
