import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compareEntries,
  encodeTree,
  isFolder,
  MODE_FILE,
  MODE_FOLDER,
  objectId,
  parseTree,
  type TreeEntry,
} from '../../objects/index.ts';
import { anyEntries } from './arbitraries.ts';
import { damage, failure } from './damage.ts';
import { GitRepository } from './git.ts';

const ID = 'ab'.repeat(32);

/** One entry as it is stored, valid or not. */
function raw(mode: string, name: string | Buffer, id = ID): Buffer {
  return Buffer.concat([Buffer.from(`${mode} `), Buffer.from(name), Buffer.of(0), Buffer.from(id, 'hex')]);
}

test('parseTree is the inverse of encodeTree', () => {
  fc.assert(
    fc.property(anyEntries, (entries) => {
      expect(parseTree(encodeTree(entries))).toEqual(entries);
    }),
  );
});

test('parseTree takes a view into a larger buffer', () => {
  const around = Buffer.concat([Buffer.alloc(7), raw(MODE_FILE, 'a')]);
  expect(parseTree(around.subarray(7))).toEqual([{ mode: MODE_FILE, name: 'a', id: ID }]);
});

test('compareEntries puts a folder where its name with a slash belongs', () => {
  const file = (name: string): TreeEntry => ({ mode: MODE_FILE, name, id: ID });
  const folder = (name: string): TreeEntry => ({ mode: MODE_FOLDER, name, id: ID });
  const entries = [file('a0'), folder('a'), file('a.b'), file('a-'), folder('B'), file('é'), file('z')];
  const ordered = ['B', 'a-', 'a.b', 'a', 'a0', 'z', 'é'];
  expect(entries.sort(compareEntries).map(({ name }) => name)).toEqual(ordered);
  expect(entries.map(isFolder)).toEqual([true, false, false, true, false, false, false]);
});

test('parseTree throws DAMAGED when the data is cut anywhere but between entries', () => {
  const whole = Buffer.concat([raw(MODE_FILE, 'a'), raw(MODE_FOLDER, 'bc'), raw(MODE_FILE, 'd')]);
  const ends = [0, raw(MODE_FILE, 'a').length, whole.length - raw(MODE_FILE, 'd').length];
  for (let length = 0; length < whole.length; length++) {
    if (ends.includes(length))
      expect(parseTree(whole.subarray(0, length))).toHaveLength(ends.indexOf(length));
    else damage(() => parseTree(whole.subarray(0, length)));
  }
});

test.each(['', '0', '040000', '0100644', '1006', '1006440', '100648', '-10064', 'abcdef', '000000'])(
  'parseTree throws DAMAGED for mode "%s"',
  (mode) => {
    expect(damage(() => parseTree(raw(mode, 'a'))).message).toContain(`mode '${mode}'`);
  },
);

test.each(['', '.', '..', 'a/b', '/', '/etc/passwd', '../x'])(
  'parseTree throws DAMAGED for name "%s"',
  (name) => {
    expect(damage(() => parseTree(raw(MODE_FILE, name))).message).toContain(`name '${name}'`);
  },
);

describe('parseTree throws DAMAGED', () => {
  test.each([
    ['two files of one name', [raw(MODE_FILE, 'a'), raw(MODE_FILE, 'a')]],
    ['two folders of one name', [raw(MODE_FOLDER, 'a'), raw(MODE_FOLDER, 'a')]],
    ['a file and a folder of one name', [raw(MODE_FILE, 'a'), raw(MODE_FOLDER, 'a')]],
    ['the same with another between', [raw(MODE_FILE, 'a'), raw(MODE_FILE, 'a.b'), raw(MODE_FOLDER, 'a')]],
    ['descending names', [raw(MODE_FILE, 'b'), raw(MODE_FILE, 'a')]],
    ['a folder sorted as a file', [raw(MODE_FOLDER, 'a'), raw(MODE_FILE, 'a.b')]],
  ])('when it holds %s', (_, entries) => {
    damage(() => parseTree(Buffer.concat(entries)));
  });
});

test('parseTree throws UNSUPPORTED when a name is not UTF-8', () => {
  const name = Buffer.from('caf\xe9', 'latin1');
  expect(failure(() => parseTree(raw(MODE_FILE, name)))).toMatchObject({ code: 'UNSUPPORTED' });
  expect(parseTree(raw(MODE_FILE, 'caf\ufffd'))).toMatchObject([{ name: 'caf\ufffd' }]);
});

test('parseTree throws DAMAGED or gives entries that encode to the same bytes for any bytes', () => {
  const hostile = fc.tuple(anyEntries, fc.nat(), fc.nat(255)).map(([entries, at, value]) => {
    const bytes = encodeTree(entries);
    if (bytes.length > 0) bytes[at % bytes.length] = value;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(hostile, fc.uint8Array()), (bytes) => {
      let entries: TreeEntry[];
      try {
        entries = parseTree(bytes);
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^(DAMAGED|UNSUPPORTED)$/) });
        return;
      }
      expect(encodeTree(entries)).toEqual(Buffer.from(bytes));
    }),
    { numRuns: 1000 },
  );
});

test('encodeTree makes trees that git accepts, and parseTree reads its own', () => {
  const repository = GitRepository.create();
  const file = repository.store('blob', Buffer.from('content'));
  const folder = repository.store('tree', Buffer.alloc(0));
  fc.assert(
    fc.property(anyEntries, (entries) => {
      const real = entries
        .filter(({ mode }) => mode !== '120000')
        .map((entry) => ({ ...entry, id: isFolder(entry) ? folder : file }));
      const data = encodeTree(real);
      expect(repository.store('tree', data)).toBe(objectId('tree', data));
      const listing = real.map(
        ({ mode, name, id }) => `${mode} ${isFolder({ mode, name, id }) ? 'tree' : 'blob'} ${id}\t${name}\0`,
      );
      // git sorts by itself, whatever order it is told.
      const made = repository.git(['mktree', '-z'], listing.reverse().join(''));
      expect(parseTree(repository.data('tree', made))).toEqual(real);
      expect(made).toBe(objectId('tree', data));
    }),
    { numRuns: 30 },
  );
  repository.fsck();
});
