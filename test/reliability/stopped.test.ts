import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { gitFsck } from '../store/git.ts';
import { writeTree } from './file-tree.ts';
import { changedVersions } from './known-versions.ts';
import { quickFolder } from './quick-folder.ts';
import { runHere, succeedHere } from './run-here.ts';
import { fileDigest, sampleHistory } from './sample-history.ts';
import { startWithFault } from './start-with-fault.ts';

/** Waits until a process is stopped by a signal (proc(5)). */
async function untilStopped(pid: number): Promise<void> {
  while (!/^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) await sleep(20);
}

test.each(['loose.rename', 'ref.create', 'ref.rename'])(
  'a commit that stands still at %s loses nothing to gc and pack',
  async (point) => {
    const folder = join(await quickFolder(), 'run');
    const { tree, digests } = await sampleHistory();
    writeTree(folder, tree);
    const { child, end } = startWithFault(folder, `stop@${point}`, ['commit', 'web.raw', '-m', 'next']);
    onTestFinished(() => void child.kill('SIGKILL'));
    await untilStopped(child.pid!);
    for (const args of [['gc', '--prune', 'now'], ['pack']])
      expect([0, 4], args[0]).toContain((await runHere(folder, ...args)).status);
    child.kill('SIGCONT');
    expect(await end).toBe(0);
    await gitFsck(join(folder, '.imgstore'));
    await succeedHere(folder, 'fsck');
    const versions = new Map([...digests, ['web', fileDigest(join(folder, 'web.raw'))]]);
    expect(await changedVersions(folder, versions)).toEqual([]);
  },
);
