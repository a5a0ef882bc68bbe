import { expect, test } from 'vitest';
import { gitEnvironment } from '../../../remote/git/environment.ts';
import { isProgress, parseProgress } from '../../../remote/git/progress.ts';
import { gitFailure, parseGitRefs, parsePushReport } from '../../../remote/index.ts';

const ID = 'ab'.repeat(32);
const OTHER = 'cd'.repeat(32);

test('parseGitRefs reads refs, what tags lead to, and HEAD', () => {
  const output = `ref: refs/heads/web\tHEAD\n${ID}\tHEAD\n${ID}\trefs/heads/web\n${OTHER}\trefs/tags/v1\n${ID}\trefs/tags/v1^{}\n`;
  const { refs, peeled, head } = parseGitRefs('x', output);
  expect(refs.map(({ name }) => name)).toEqual(['HEAD', 'refs/heads/web', 'refs/tags/v1']);
  expect([...peeled]).toEqual([['refs/tags/v1', ID]]);
  expect(head).toBe('refs/heads/web');
  expect(parseGitRefs('x', '').refs).toEqual([]);
});

test.each([
  ['a'.repeat(40).concat('\trefs/heads/web'), 'UNSUPPORTED'],
  ['nonsense', 'REMOTE_FAILED'],
  [`${ID} refs/heads/web`, 'REMOTE_FAILED'],
])('parseGitRefs refuses %j', (output, code) => {
  expect(() => parseGitRefs('x', output)).toThrow(expect.objectContaining({ code }));
});

test('parsePushReport tells what was moved by others from what was refused', () => {
  const output = [
    'To /srv/x.git',
    `=\t${ID}:refs/heads/same\t[up to date]`,
    `*\t${ID}:refs/heads/new\t[new branch]`,
    ` \t${ID}:refs/heads/on\tabc..def`,
    `-\t:refs/heads/gone\t[deleted]`,
    `!\t${ID}:refs/heads/stale\t[rejected] (stale info)`,
    `!\t${ID}:refs/heads/locked\t[remote rejected] (atomic transaction failed)`,
    `!\t${ID}:refs/heads/hook\t[remote rejected] (pre-receive hook declined)`,
    'Done',
  ].join('\n');
  const lines = [`remote: error: cannot lock ref 'refs/heads/locked': is at ${ID} but expected ${OTHER}`];
  expect(parsePushReport(output, lines)).toEqual([
    { name: 'refs/heads/same', fault: undefined, moved: false },
    { name: 'refs/heads/new', fault: undefined, moved: false },
    { name: 'refs/heads/on', fault: undefined, moved: false },
    { name: 'refs/heads/gone', fault: undefined, moved: false },
    { name: 'refs/heads/stale', fault: 'stale info', moved: true },
    { name: 'refs/heads/locked', fault: 'atomic transaction failed', moved: true },
    { name: 'refs/heads/hook', fault: 'pre-receive hook declined', moved: false },
  ]);
});

test.each([
  [
    ['ssh: connect to host x port 22: Connection refused', 'fatal: Could not read from remote repository.'],
    'REMOTE_UNREACHABLE',
    'Connection refused',
  ],
  [
    ['git@x: Permission denied (publickey).', 'fatal: Could not read from remote repository.'],
    'REMOTE_DENIED',
    'publickey',
  ],
  [
    ["fatal: '/x' does not appear to be a git repository", 'fatal: Could not read from remote repository.'],
    'NOT_FOUND',
    '/x',
  ],
  [['fatal: mismatched algorithms: client sha256; server sha1'], 'UNSUPPORTED', 'SHA-1'],
  [
    ['fatal: pack is corrupted (SHA1 mismatch)', 'fatal: fetch-pack: invalid index-pack output'],
    'DAMAGED',
    'corrupted',
  ],
  [['fatal: write error: No space left on device', 'fatal: index-pack failed'], 'IO', 'No space'],
  [["fatal: unable to access 'https://x/': The requested URL returned error: 403"], 'REMOTE_DENIED', '403'],
  [[], 'REMOTE_FAILED', 'exit code 128'],
] as const)('gitFailure of %j is %s', (lines, code, part) => {
  const error = gitFailure('ssh://x/y', lines, 'exit code 128');
  expect(error.code).toBe(code);
  expect(error.message).toContain('ssh://x/y: ');
  expect(error.message).toContain(part);
  expect(error.message).not.toContain('\n');
});

test('parseProgress reads objects and bytes, and isProgress knows all lines that are no messages', () => {
  expect(parseProgress('Receiving objects:  45% (90/200), 1.50 MiB | 3.00 MiB/s')).toEqual({
    objects: 90,
    allObjects: 200,
    bytes: 1.5 * 2 ** 20,
  });
  expect(parseProgress('Writing objects: 100% (3/3), 222 bytes | 222.00 KiB/s, done.')?.bytes).toBe(222);
  expect(parseProgress('Resolving deltas: 100% (3/3), done.')).toBeUndefined();
  for (const line of [
    'remote: Counting objects: 3% (1/33)',
    'Total 3 (delta 0), reused 3 (delta 0), pack-reused 0',
    'Enumerating objects: 5, done.',
  ])
    expect([line, isProgress(line)]).toEqual([line, true]);
  for (const line of ['remote: Total failure of the hook', 'fatal: x', 'remote: Please wait'])
    expect([line, isProgress(line)]).toEqual([line, false]);
});

test('gitEnvironment leaves out what leads to another repository', () => {
  const environment = {
    GIT_DIR: 'x',
    GIT_WORK_TREE: 'x',
    GIT_SSH_COMMAND: 'ssh -v',
    PATH: '/bin',
    GIT_CONFIG_COUNT: '0',
  };
  expect(gitEnvironment({ MORE: '1' }, false, environment)).toEqual({
    GIT_SSH_COMMAND: 'ssh -v',
    PATH: '/bin',
    GIT_CONFIG_COUNT: '0',
    GIT_ALLOW_PROTOCOL: 'file:git:http:https:ssh',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_TERMINAL_PROMPT: '0',
    LC_ALL: 'C',
    MORE: '1',
  });
  expect(gitEnvironment({}, true, {}).GIT_TERMINAL_PROMPT).toBeUndefined();
});
