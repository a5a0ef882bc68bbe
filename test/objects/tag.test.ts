import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeTag, objectId, parseTag } from '../../objects/index.ts';
import { anyTag } from './arbitraries.ts';
import { damage } from './damage.ts';
import { GitRepository } from './git.ts';

const ID = 'ab'.repeat(32);
const PERSON = 'A <a@b> 1 +0000';

test('parseTag is the inverse of encodeTag', () => {
  fc.assert(
    fc.property(anyTag, (tag) => {
      expect(parseTag(encodeTag(tag))).toEqual(tag);
    }),
  );
});

test('parseTag keeps a signature in the message', () => {
  const message = 'v1\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n';
  const tag = parseTag(Buffer.from(`object ${ID}\ntype commit\ntag v1\ntagger ${PERSON}\n\n${message}`));
  expect(tag.message).toBe(message);
});

test('parseTag reads a tag without tagger, as old git made them', () => {
  expect(parseTag(Buffer.from(`object ${ID}\ntype tree\ntag v1\n\nx`))).toMatchObject({
    tagger: undefined,
    type: 'tree',
    message: 'x',
  });
});

test.each([
  ['nothing', ''],
  ['no object', `type commit\ntag v1\ntagger ${PERSON}\n\n`],
  ['no type', `object ${ID}\ntag v1\ntagger ${PERSON}\n\n`],
  ['no name', `object ${ID}\ntype commit\ntagger ${PERSON}\n\n`],
  ['a bad object', `object ${ID}0\ntype commit\ntag v1\ntagger ${PERSON}\n\n`],
  ['a bad type', `object ${ID}\ntype constructor\ntag v1\ntagger ${PERSON}\n\n`],
  ['a bad tagger', `object ${ID}\ntype commit\ntag v1\ntagger x\n\n`],
])('parseTag throws DAMAGED for %s', (_, data) => {
  damage(() => parseTag(Buffer.from(data)));
});

test('encodeTag makes tags that git accepts, and parseTag reads its own', () => {
  const repository = GitRepository.create();
  const tree = repository.store('tree', Buffer.alloc(0));
  repository.git(['tag', '-a', 'v1', '-m', 'first\n\nbody', tree]);
  const made = repository.git(['rev-parse', 'refs/tags/v1']);
  expect(parseTag(repository.data('tag', made))).toMatchObject({
    object: tree,
    type: 'tree',
    name: 'v1',
    tagger: { name: 'A Committer', zoneMinutes: -480 },
    message: 'first\n\nbody\n',
    extra: [],
  });
  fc.assert(
    fc.property(anyTag, anyTag, (tag, other) => {
      const person = tag.tagger ?? other.tagger;
      const tagger = person && { ...person, name: person.name || 'N', seconds: Math.abs(person.seconds) };
      // git of this version knows no further headers in a tag.
      const data = encodeTag({ ...tag, object: tree, type: 'tree', tagger, extra: [] });
      expect(repository.git(['hash-object', '-w', '--stdin', '-t', 'tag', '--literally'], data)).toBe(
        objectId('tag', data),
      );
    }),
    { numRuns: 30 },
  );
  repository.fsck();
});
