import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { qemuBytes, qemuIo } from '../qcow2/qemu.ts';
import { qemuServes } from '../store/serve/qemu-serves.ts';
import { oneLine, sharedWorkplace, type Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

const place = sharedWorkplace(async (made) => {
  await made.ok('init');
  await writeDisk(made, 'web.raw', 1, 2, 3);
  await made.ok('commit', 'web.raw');
  await made.ok('checkout', 'web', '-o', 'kept.qcow2', '--backing', 'nbd', '--no-serve');
});

/** QEMU shows the only version at the store's own socket. */
async function served(made: Workplace): Promise<void> {
  const id = made.git('rev-parse', 'web');
  await qemuServes(made.path('web.raw'), id, made.path('.imgstore/imgstore/nbd.sock'));
}

test('checkout --backing nbd, commit and hydrate go through a whole life of an overlay', async () => {
  const made = place();
  const id = made.git('rev-parse', 'web');
  await served(made);
  const backing = `nbd+unix:///${id}?socket=${made.path('.imgstore/imgstore/nbd.sock')}`;
  const written = await made.json('checkout', 'web', '-o', 'work.qcow2', '--backing', 'nbd');
  expect(written).toMatchObject({ file: 'work.qcow2', format: 'qcow2', backing });
  await qemuIo(made.path('work.qcow2'), 'write -P 9 100k 3k');
  const shown = await qemuBytes(made.path('work.qcow2'));
  expect(await made.ok('info', 'work.qcow2')).toContain(backing);
  expect((await made.run('compare', 'web', 'work.qcow2')).status).toBe(1);
  const committed = await made.json('commit', 'work.qcow2');
  expect(committed).toMatchObject({ branch: 'work', parents: [id], disks: [{ newClusters: 1 }] });
  expect(committed.disks[0].readBytes).toBeLessThanOrEqual(2 * 65536);
  expect((await made.run('compare', 'work', 'work.qcow2')).status).toBe(0);
  const hydrated = await made.json('hydrate', 'work.qcow2');
  expect(hydrated).toEqual({
    file: 'work.qcow2',
    writtenBytes: expect.any(Number),
    seconds: expect.any(Number),
  });
  expect((await qemuBytes(made.path('work.qcow2'))).equals(shown)).toBe(true);
  expect(await made.json('commit', 'work.qcow2')).toMatchObject({
    unchanged: true,
    disks: [{ readBytes: 0 }],
  });
});

test('hydrate prints what it did, and one line when there is nothing to do', async () => {
  const made = place();
  await copyFile(made.path('kept.qcow2'), made.path('copy.qcow2'));
  expect(await made.ok('hydrate', 'copy.qcow2')).toMatch(
    /^copy\.qcow2: stands on nothing now, \S+ \S+ copied in .+\n$/,
  );
  const again = await made.run('hydrate', 'copy.qcow2');
  expect(again.status).toBe(1);
  expect(oneLine(again)).toBe('copy.qcow2: stands on no backing file');
});

describe('what is refused', () => {
  test.each([
    ['--depth', '1'],
    ['--compress', 'zlib'],
    ['--format', 'raw'],
    ['--track'],
    ['--all'],
    ['--allow-backing', '.'],
    ['--skip-damaged'],
    ['--socket', `/${'x'.repeat(200)}`],
  ])('checkout --backing nbd exits with 2 for %s', async (...words) => {
    const outcome = await place().run(
      'checkout',
      'web',
      '-o',
      'no.qcow2',
      '--backing',
      'nbd',
      '--no-serve',
      ...words,
    );
    expect(outcome).toMatchObject({ status: 2, stdout: '' });
    oneLine(outcome);
    expect(existsSync(place().path('no.qcow2'))).toBe(false);
  });

  test.each([[['--no-serve']], [['--socket', 's']]])(
    'checkout exits with 2 for %j without it',
    async (words) => {
      const outcome = await place().run('checkout', 'web', '-o', 'no.qcow2', ...words);
      expect(outcome.status).toBe(2);
      expect(oneLine(outcome)).toContain('is for --backing nbd');
    },
  );

  test('checkout --in-place leaves an overlay on an export, and says why', async () => {
    const outcome = await place().run('checkout', 'web', '-o', 'kept.qcow2', '--in-place');
    expect(outcome.status).toBe(1);
    expect(oneLine(outcome)).toContain('imgstore hydrate');
  });

  test('mount exits with 1 and one line when no server shows the version', async () => {
    const outcome = await place().run('mount', 'web', '.', '--no-serve', '--socket', 'nobody');
    expect(outcome.status).toBe(1);
    expect(oneLine(outcome)).toContain('nobody');
  });
});

test.runIf(existsSync('/dev/fuse') && spawnSync('nbdfuse', ['--version']).status === 0)(
  'mount shows a version until it is interrupted',
  async () => {
    const made = place();
    await served(made);
    spawnSync('mkdir', [made.path('mnt')]);
    const { child, finished } = made.start(['mount', 'web', 'mnt', '--json']);
    const [line] = await new Promise<string[]>((resolve) =>
      child.stdout!.once('data', (chunk: Buffer) => resolve([chunk.toString()])),
    );
    expect(JSON.parse(line!)).toMatchObject({ file: 'mnt/nbd' });
    expect(spawnSync('cmp', [made.path('mnt/nbd'), made.path('web.raw')]).status).toBe(0);
    child.kill('SIGINT');
    expect(await finished).toMatchObject({ status: 0, stderr: '' });
    expect(existsSync(made.path('mnt/nbd'))).toBe(false);
  },
);
