import { execSync, spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
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
