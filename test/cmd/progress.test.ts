import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { PROGRAM, sharedWorkplace, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

/** Long enough that more than one update is shown. */
const place = sharedWorkplace(async (made) => {
  await writeDisk(made, 'big.raw', ...Array.from({ length: 400 }, (_, i) => i));
});

/** What a commit prints on a terminal that is its stderr; stdout is a file. */
async function commitOnTerminal(
  options: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<string> {
  const store = await Workplace.withStore();
  const words = [process.execPath, PROGRAM, 'commit', 'big.raw', '--store', store.folder, ...options];
  const command = `${words.map((word) => `'${word}'`).join(' ')} >out.txt`;
  const { status, stdout } = spawnSync('script', ['-qec', command, '/dev/null'], {
    cwd: place().folder,
    env: { ...place().environment, TERM: 'xterm', ...env },
    encoding: 'utf8',
  });
  expect(status).toBe(0);
  return stdout;
}

test('a progress bar is shown when stderr is a terminal', async () => {
  const shown = await commitOnTerminal();
  expect(shown).toMatch(/commit/);
  expect(shown).toMatch(/\[?=* *\]? ?.* of 25 MiB, .*\/s, .* left/);
  expect(shown).toContain('\x1b[1m');
});

test('the progress bar has no colour when NO_COLOR is set', async () => {
  const shown = await commitOnTerminal([], { NO_COLOR: '1' });
  expect(shown).toContain('of 25 MiB');
  expect(shown).not.toMatch(/\x1b\[[0-9;]*m/);
});

test.each([['--no-progress'], ['--quiet'], ['--json']])(
  'no progress bar is shown when %s is given',
  async (option) => {
    expect(await commitOnTerminal([option])).toBe('');
  },
);

test('no progress bar is shown when stderr is no terminal', async () => {
  await place().ok('init', 'elsewhere');
  const { status, stderr } = await place().run('commit', 'big.raw', '--store', 'elsewhere');
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});
