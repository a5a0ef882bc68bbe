import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commitBytes, newStore, SMALL } from '../new-store.ts';
import { fsck } from './store-copies.ts';

test('checkStore says so when there are versions and no ref leads to any', async () => {
  const made = await newStore();
  expect((await fsck(made.path)).notices).toEqual([]);
  const { commit } = await commitBytes(made, 'web', Buffer.alloc(SMALL, 1));
  expect((await fsck(made.path)).notices).toEqual([]);
  rmSync(join(made.path, 'refs/heads/web'));
  const { clean, notices } = await fsck(made.path);
  expect(clean).toBe(true);
  expect(notices.join('\n')).toContain(`imgstore branch NAME ${commit.slice(0, 12)}`);
});
