import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MOST_OUTPUT = 2 ** 26;

/** Who acts in tests, and when; nothing of the machine's own settings. */
Object.assign(process.env, {
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'A. Uthor',
  GIT_AUTHOR_EMAIL: 'author@example.org',
  GIT_COMMITTER_NAME: 'C. Mitter',
  GIT_COMMITTER_EMAIL: 'committer@example.org',
});

/** Runs stock git on a store and returns what it prints, without the last newline; fails as it fails. */
export async function git(store: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run('git', ['--git-dir', store, ...args], { maxBuffer: MOST_OUTPUT });
  return stdout.replace(/\n$/, '');
}

/** As {@link git}, with something to read, and environment variables besides the present ones. */
export function gitWith(
  store: string,
  { input = '', env = {} }: { readonly input?: string | Buffer; readonly env?: NodeJS.ProcessEnv },
  ...args: readonly string[]
): string {
  const all = { ...process.env, ...env };
  const options = { input, env: all, maxBuffer: MOST_OUTPUT };
  return execFileSync('git', ['--git-dir', store, ...args], options)
    .toString()
    .replace(/\n$/, '');
}

/** What git prints, or undefined when it fails. */
export function tryGit(store: string, ...args: readonly string[]): string | undefined {
  const { status, stdout } = spawnSync('git', ['--git-dir', store, ...args], { encoding: 'utf8' });
  return status === 0 ? stdout.replace(/\n$/, '') : undefined;
}

/** Fails unless git finds every object of the store whole and strictly valid, without a single remark. */
export async function gitFsck(store: string): Promise<void> {
  const { stdout, stderr } = await run('git', ['--git-dir', store, 'fsck', '--full', '--strict']);
  const remarks = (stdout + stderr)
    .split('\n')
    .filter((line) => line !== '' && !/^dangling |^notice: (HEAD|No default)/.test(line));
  if (remarks.length > 0) throw new Error(remarks.join('\n'));
}

/** The ids and kinds of all objects, sorted. */
export async function gitObjects(store: string): Promise<string[]> {
  const text = await git(
    store,
    'cat-file',
    '--batch-all-objects',
    '--batch-check=%(objectname) %(objecttype)',
  );
  return text === '' ? [] : text.split('\n');
}

/** Number of objects of each kind. */
export async function countObjects(store: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = { blob: 0, tree: 0, commit: 0, tag: 0 };
  for (const line of await gitObjects(store)) counts[line.split(' ')[1]!]!++;
  return counts;
}
