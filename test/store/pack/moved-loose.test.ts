import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { packStore } from '../../../store/index.ts';
import { mixed, noise } from '../../objects/noise.ts';
import { gitFsck, gitObjects } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL } from '../new-store.ts';
import { beforeFirst } from '../watch-jobs.ts';

/** Versions of a disk that differ in some bytes of each cluster. */
function edited(version: number, clusters: number): Buffer {
  const bytes = mixed(clusters * SMALL, 1);
  for (let at = 0; at < bytes.length; at += SMALL) noise(200, version).copy(bytes, at + 300 * version);
  return bytes;
}

test.each(['sketch', 'deltify'] as const)(
  'packStore goes on when git prunes loose copies of packed objects before its %s jobs read them',
  async (job) => {
    const made = await newStore();
    for (const version of [0, 1, 2]) await commitBytes(made, 'web', edited(version, 20));
    const before = await gitObjects(made.path);
    const store = await reopen(made.path);
    beforeFirst(job, () => execFileSync('git', ['--git-dir', made.path, 'repack', '-adq']));
    const result = await packStore(store);
    // Those that it began with, and git's pack in the next round.
    expect(result).toMatchObject({ packs: 1, objects: 2 * before.length });
    expect(await gitObjects(made.path)).toEqual(before);
    await gitFsck(made.path);
  },
);
