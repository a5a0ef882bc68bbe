import fc from 'fast-check';
import {
  type Commit,
  compareEntries,
  MODE_FILE,
  MODE_FOLDER,
  type ObjectType,
  type Person,
  type Tag,
  type TreeEntry,
} from '../../objects/index.ts';

/** Object ids. */
export const anyId: fc.Arbitrary<string> = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('hex'));

/** Words without the characters that names and e-mails lose at their ends. */
const word = fc.stringMatching(/^[\p{L}0-9]([\p{L}0-9 .'-]{0,10}[\p{L}0-9])?$/u);

/** Text of some lines, empty ones among them; headers and messages consist of it. */
const text = fc
  .array(fc.string({ unit: 'grapheme' }).map((line) => line.replace(/[\0\n]/g, '')))
  .map((lines) => lines.join('\n'));

export const anyPerson: fc.Arbitrary<Person> = fc.record({
  name: fc.oneof(word, fc.constant('')),
  email: fc.oneof(
    word.map((name) => `${name.replaceAll(' ', '')}@example.org`),
    fc.constant(''),
  ),
  seconds: fc.integer({ min: -(2 ** 31), max: 2 ** 40 }),
  zoneMinutes: fc.integer({ min: -12 * 60, max: 14 * 60 }),
});

const anyExtra = fc.array(
  fc.record({
    key: fc.stringMatching(/^[a-z]{1,8}$/).map((key) => `x${key}`),
    value: text,
  }),
  { maxLength: 3 },
);

export const anyCommit: fc.Arbitrary<Commit> = fc.record({
  tree: anyId,
  parents: fc.array(anyId, { maxLength: 3 }),
  author: anyPerson,
  committer: anyPerson,
  message: text,
  extra: anyExtra,
});

export const anyTag: fc.Arbitrary<Tag> = fc.record({
  object: anyId,
  type: fc.constantFrom<ObjectType>('blob', 'tree', 'commit', 'tag'),
  name: fc.stringMatching(/^[a-z][a-z0-9.-]{0,10}[a-z0-9]$/),
  tagger: fc.option(anyPerson, { nil: undefined }),
  message: text,
  extra: anyExtra,
});

const fileName = fc
  .oneof(fc.stringMatching(/^[a-c.-]{1,3}$/), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 5 }))
  .map((name) => name.replace(/[/\0]/g, '_'))
  .filter((name) => name !== '.' && name !== '..' && !/^\.git|git~/i.test(name));

/** Entries in git's order, each name once. */
export const anyEntries: fc.Arbitrary<TreeEntry[]> = fc
  .uniqueArray(
    fc.record({
      mode: fc.constantFrom(MODE_FILE, MODE_FOLDER, '100755', '120000'),
      name: fileName,
      id: anyId,
    }),
    {
      selector: (entry) => entry.name,
      maxLength: 12,
    },
  )
  .map((entries) => entries.sort(compareEntries));
