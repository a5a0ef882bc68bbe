import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Commit, encodeCommit, objectId, parseCommit, subject } from '../../objects/index.ts';
import { anyCommit } from './arbitraries.ts';
import { damage } from './damage.ts';
import { GitRepository } from './git.ts';

const TREE = 'ab'.repeat(32);
const PERSON = 'A <a@b> 1 +0000';

test('parseCommit is the inverse of encodeCommit', () => {
  fc.assert(
    fc.property(anyCommit, (commit) => {
      expect(parseCommit(encodeCommit(commit))).toEqual(commit);
    }),
  );
});

test('parseCommit keeps a signature of many lines when it is encoded again', () => {
  const signature = '-----BEGIN PGP SIGNATURE-----\n\niQEzBAAB\n=abcd\n-----END PGP SIGNATURE-----\n';
  const data = Buffer.from(
    `tree ${TREE}\nauthor ${PERSON}\ncommitter ${PERSON}\n` +
      `gpgsig-sha256 ${signature.replaceAll('\n', '\n ')}\nencoding UTF-8\n\nsubject\n\nbody\n`,
  );
  const commit = parseCommit(data);
  expect(commit.extra).toEqual([
    { key: 'gpgsig-sha256', value: signature },
    { key: 'encoding', value: 'UTF-8' },
  ]);
  expect(commit.message).toBe('subject\n\nbody\n');
  expect(encodeCommit(commit)).toEqual(data);
});

test.each([
  ['nothing', ''],
  ['no tree', `author ${PERSON}\ncommitter ${PERSON}\n\n`],
  ['no author', `tree ${TREE}\ncommitter ${PERSON}\n\n`],
  ['no committer', `tree ${TREE}\nauthor ${PERSON}\n\n`],
  ['a short tree', `tree ${TREE.slice(1)}\nauthor ${PERSON}\ncommitter ${PERSON}\n\n`],
  ['a tree in capitals', `tree ${TREE.toUpperCase()}\nauthor ${PERSON}\ncommitter ${PERSON}\n\n`],
  ['a bad parent', `tree ${TREE}\nparent x\nauthor ${PERSON}\ncommitter ${PERSON}\n\n`],
  ['a bad author', `tree ${TREE}\nauthor A\ncommitter ${PERSON}\n\n`],
  ['a bad committer', `tree ${TREE}\nauthor ${PERSON}\ncommitter <>\n\n`],
  ['a line without key', `tree ${TREE}\nauthor ${PERSON}\ncommitter ${PERSON}\nkey\n\n`],
])('parseCommit throws DAMAGED for %s', (_, data) => {
  damage(() => parseCommit(Buffer.from(data)));
});

test('parseCommit throws DAMAGED or nothing when bytes are changed or cut', () => {
  const whole = Buffer.from(`tree ${TREE}\nparent ${TREE}\nauthor ${PERSON}\ncommitter ${PERSON}\n\nx\n`);
  fc.assert(
    fc.property(fc.nat(whole.length), fc.nat(whole.length - 1), fc.nat(255), (length, at, value) => {
      const hostile = Buffer.from(whole);
      hostile[at] = value;
      try {
        parseCommit(hostile.subarray(0, length));
      } catch (error) {
        expect(error).toMatchObject({ code: 'DAMAGED' });
      }
    }),
    { numRuns: 1000 },
  );
});

test('encodeCommit makes commits that git accepts, and parseCommit reads its own', () => {
  const repository = GitRepository.create();
  const tree = repository.store('tree', Buffer.alloc(0));
  const root = repository.git(['commit-tree', tree, '-m', 'root: ä']);
  expect(parseCommit(repository.data('commit', root))).toEqual({
    tree,
    parents: [],
    author: { name: 'An Author', email: 'author@example.org', seconds: 1_700_000_000, zoneMinutes: 90 },
    committer: {
      name: 'A Committer',
      email: 'committer@example.org',
      seconds: 1_700_000_001,
      zoneMinutes: -480,
    },
    message: 'root: ä\n',
    extra: [],
  } satisfies Commit);
  fc.assert(
    fc.property(anyCommit, (commit) => {
      const seconds = Math.abs(commit.author.seconds);
      const author = { ...commit.author, name: commit.author.name || 'N', seconds };
      const data = encodeCommit({ ...commit, tree, parents: [root], author, committer: author });
      expect(repository.store('commit', data)).toBe(objectId('commit', data));
    }),
    { numRuns: 30 },
  );
  repository.fsck();
});

test.each([
  ['', ''],
  ['one', 'one'],
  ['one\ntwo', 'one'],
  ['\n\n one\n\ntwo', 'one'],
])('subject of %j is %j', (message, expected) => {
  expect(subject(message)).toBe(expected);
});
