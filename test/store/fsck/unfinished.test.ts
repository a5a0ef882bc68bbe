import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { ownerSuffix } from '../../../files/index.ts';
import { gitFsck } from '../git.ts';
import { commitBytes, newStore, SMALL } from '../new-store.ts';
import { fsck } from './store-copies.ts';

test.each(['refs/heads', 'refs/tags', 'logs/refs/heads'])(
  'checkStore finds no damage when a ref is being written in %s',
  async (folder) => {
    const made = await newStore();
    await commitBytes(made, 'web', Buffer.alloc(SMALL, 1));
    for (const kind of ['lock', 'ref']) {
      const path = join(made.path, folder, `.tmp_${kind}${ownerSuffix('0123456789ab')}`);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, 'half of a li');
    }
    await gitFsck(made.path);
    expect(await fsck(made.path)).toMatchObject({ clean: true, refs: [] });
  },
);
