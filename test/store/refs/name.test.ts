import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  BRANCHES,
  branchFromFile,
  fullRefName,
  refNameFault,
  shortRefName,
  TAGS,
} from '../../../store/refs/name.ts';
import { tryGit } from '../git.ts';

/** Whether git takes it for the name of a ref. */
function gitTakes(name: string): boolean {
  return tryGit('.', 'check-ref-format', name) !== undefined;
}

const NAMES = [
  ...[
    'web',
    'a/b',
    'a/b/c',
    'ü',
    'a.b',
    'a-b',
    '-a',
    'a-',
    '@',
    'a@',
    '@a',
    'HEAD',
    '0',
    'a.lock.b',
    'lock',
    '.lock',
  ],
  ...[
    '',
    '/',
    '/a',
    'a/',
    'a//b',
    '.a',
    'a/.b',
    'a.',
    'a./b',
    'a/.',
    '..',
    'a..b',
    'a.lock',
    'a.lock/b',
    'a/b.lock',
  ],
  ...[
    'a b',
    ' a',
    'a\tb',
    'a\nb',
    'a\x7f',
    'a\x01',
    'a~',
    'a^',
    'a:',
    'a?',
    'a*',
    'a[',
    'a]',
    'a\\',
    'a@{',
    '@{',
    'a{b}',
  ],
];

describe.each(NAMES)('for %j', (name) => {
  test('refNameFault finds a fault where git does', () => {
    expect(refNameFault(BRANCHES + name) === undefined).toBe(gitTakes(BRANCHES + name));
  });
});

test('refNameFault agrees with git on whatever name', () => {
  const unit = fc.constantFrom(...'aZ0/..@{~^:?*[\\ -_ü'.split(''), '.lock', '@{', '\x7f', '\t');
  fc.assert(
    fc.property(fc.string({ unit, minLength: 1, maxLength: 6 }), (name) => {
      expect(refNameFault(BRANCHES + name) === undefined).toBe(gitTakes(BRANCHES + name));
    }),
    { numRuns: 250 },
  );
});

test('refNameFault refuses a part that no file system could hold', () => {
  expect(refNameFault(`${BRANCHES}${'a'.repeat(250)}`)).toBeUndefined();
  expect(refNameFault(`${BRANCHES}${'ü'.repeat(126)}`)).toMatch(/longer than 250 bytes/);
});

test.each(['-a', 'HEAD', '', 'a b', 'a..b'])('fullRefName throws BAD_NAME for %j', (name) => {
  expect(() => fullRefName(BRANCHES, name)).toThrow(expect.objectContaining({ code: 'BAD_NAME' }));
});

test('shortRefName undoes fullRefName', () => {
  expect(shortRefName(fullRefName(TAGS, 'v1'))).toBe('v1');
  expect(shortRefName(fullRefName(BRANCHES, 'a/b'))).toBe('a/b');
  expect(shortRefName('HEAD')).toBe('HEAD');
});

test.each([
  ['/images/web.qcow2', 'web'],
  ['web.server.img', 'web.server'],
  ['web', 'web'],
  ['.hidden', 'hidden'],
  ['my disk (1).qcow2', 'my-disk-(1)'],
  ['a..b.raw', 'a-b'],
  ['-web-.raw', 'web'],
  ['web.lock.raw', 'web-lock'],
  ['@.raw', 'disk'],
  ['~~~.raw', 'disk'],
  ['HEAD.qcow2', 'disk'],
  ['bücher.qcow2', 'bücher'],
  [`${'0a'.repeat(32)}.qcow2`, `disk-${'0a'.repeat(32)}`],
  [`${'0A'.repeat(20)}.raw`, `disk-${'0A'.repeat(20)}`],
])('branchFromFile makes of %s the branch %s', (path, branch) => {
  expect(branchFromFile(path)).toBe(branch);
});

test('branchFromFile gives a name that a branch can have, for any file', () => {
  const unit = fc.constantFrom(...'aZ0..@{~^:?*[\\ -_ü'.split(''), '.lock', '@{', '\n', '\x7f', 'HEAD', '🖴');
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit, minLength: 1, maxLength: 8 }), fc.string({ unit: 'binary', minLength: 1 })),
      (name) => {
        const path = name.replaceAll('/', '').replaceAll('\0', '') || 'x';
        expect(fullRefName(BRANCHES, branchFromFile(`/images/${path}`))).toMatch(/^refs\/heads\/./);
      },
    ),
    { numRuns: 1000 },
  );
});

test('branchFromFile shortens the longest file names', () => {
  for (const name of ['a'.repeat(255), `${'ü'.repeat(127)}a`, `${'a'.repeat(240)}.lock.${'b'.repeat(9)}`])
    expect(() => fullRefName(BRANCHES, branchFromFile(name))).not.toThrow();
});
