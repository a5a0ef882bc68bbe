import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isImgstoreError } from '../../../errors/index.ts';
import { NULL_ID } from '../../../objects/index.ts';
import { packName } from '../../../remote/layout/names.ts';
import {
  applyChange,
  EMPTY_CONTENT,
  encodeCheckpoint,
  encodeState,
  parseCheckpoint,
  parseState,
  type RemoteContent,
} from '../../../remote/layout/state.ts';
import { changes, digests } from './contents.ts';

const states = fc.record({
  number: fc.integer({ min: 1, max: 10 ** 9 }),
  writer: fc.stringMatching(/^[0-9a-f]{16}$/),
  checkpoint: fc.option(digests, { nil: undefined }),
  changes: fc.array(changes, { maxLength: 5 }),
});

/** What any change of a valid document may come to: an error that says where, or a value. */
function refusedOrRead(read: () => unknown): void {
  try {
    read();
  } catch (error) {
    if (!isImgstoreError(error, 'REMOTE_FAILED')) throw error;
    expect(error.message).toMatch(/^s3:\/\/b: states\/x: ./);
  }
}

const WHERE = 's3://b: states/x';

describe('states', () => {
  test('parseState reads what encodeState has written', () => {
    fc.assert(
      fc.property(states, (state) => {
        const read = parseState(encodeState(state), WHERE);
        expect(read.number).toBe(state.number);
        expect(read.checkpoint).toBe(state.checkpoint);
        // The order in which one change names refs means nothing.
        const folded = state.changes.reduce(applyChange, EMPTY_CONTENT);
        expect(read.changes.reduce(applyChange, EMPTY_CONTENT)).toEqual(folded);
        expect(read.changes.map(({ added }) => added)).toEqual(state.changes.map(({ added }) => added));
      }),
    );
  });

  test('parseCheckpoint reads what encodeCheckpoint has written', () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 6 }), (all) => {
        const content = all.reduce(applyChange, EMPTY_CONTENT);
        expect(parseCheckpoint(encodeCheckpoint(content, 'w'), WHERE)).toEqual(content);
      }),
    );
  });

  test('parseState and parseCheckpoint refuse or read any bytes', () => {
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.json().map((text) => Buffer.from(text)),
      fc.tuple(states, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([state, at, flip]) => {
        const bytes = encodeState(state);
        bytes[at % bytes.length]! ^= flip;
        return bytes;
      }),
      fc.tuple(fc.array(changes, { maxLength: 3 }), fc.nat()).map(([all, at]) => {
        const bytes = encodeCheckpoint(all.reduce(applyChange, EMPTY_CONTENT), 'w');
        return bytes.subarray(0, at % bytes.length);
      }),
    );
    fc.assert(
      fc.property(anything, (bytes) => {
        refusedOrRead(() => parseState(bytes, WHERE));
        refusedOrRead(() => parseCheckpoint(bytes, WHERE));
      }),
      { numRuns: 500 },
    );
  });

  const wrong: readonly [string, object][] = [
    ['number is no count', { number: -1, changes: [] }],
    ['number is no count', { number: 1.5, changes: [] }],
    ['number is no count', { number: 2 ** 60, changes: [] }],
    ['changes is no list', { number: 1 }],
    ['a change is no object', { number: 1, changes: [null] }],
    ['checkpoint is no SHA-256', { number: 1, writer: 'x', checkpoint: '../../x', changes: [] }],
    ['refs is no object', { number: 1, changes: [{ refs: [] }] }],
    ['ref a is no SHA-256', { number: 1, changes: [{ refs: { a: 'A'.repeat(64) } }] }],
    ['a ref is no text', { number: 1, changes: [{ refs: { '': NULL_ID } }] }],
    ['a pack is of kind x', { number: 1, changes: [{ added: [{ kind: 'x' }] }] }],
    [
      'pack is no SHA-256',
      { number: 1, changes: [{ added: [{ kind: 'data', upload: '01234567', pack: '/etc/passwd' }] }] },
    ],
    [
      'bytes is no count',
      {
        number: 1,
        changes: [{ added: [{ kind: 'data', pack: NULL_ID, upload: '01234567', bytes: 1e300 }] }],
      },
    ],
    [
      'at is no time',
      { number: 1, changes: [{ buried: [{ pack: NULL_ID, upload: '01234567', at: 'soon' }] }] },
    ],
    ['gone is no object', { number: 1, changes: [{ gone: [7] }] }],
    ['head is no text', { number: 1, changes: [{ head: 7 }] }],
  ];
  test.each(wrong)('parseState says "%s" of what is wrong', (message, state) => {
    expect(() => parseState(Buffer.from(JSON.stringify(state)), WHERE)).toThrow(`${WHERE}: ${message}`);
  });
});

describe('applyChange', () => {
  test('applyChange comes to the same as sets that are changed in place', () => {
    fc.assert(
      fc.property(fc.array(changes, { maxLength: 8 }), (all) => {
        const refs = new Map<string, string>();
        const listed = new Map<string, string>();
        const buried = new Set<string>();
        for (const change of all) {
          for (const { name, id } of change.refs) {
            if (id === NULL_ID) refs.delete(name);
            else refs.set(name, id);
          }
          for (const { pack, upload } of change.added) listed.set(pack, upload);
          for (const grave of change.buried) {
            if (listed.get(grave.pack) === grave.upload) listed.delete(grave.pack);
            buried.add(packName(grave));
          }
          for (const pack of change.gone) buried.delete(packName(pack));
        }
        const content = all.reduce(applyChange, EMPTY_CONTENT);
        expect(content.refs).toEqual(refs);
        expect(new Map([...content.packs].map(([pack, { upload }]) => [pack, upload]))).toEqual(listed);
        expect(new Set(content.buried.keys())).toEqual(buried);
        for (const [name, { pack }] of content.packs) expect(pack).toBe(name);
      }),
    );
  });

  test('applyChange leaves the content that it begins with as it was', () => {
    fc.assert(
      fc.property(changes, changes, (one, two) => {
        const content: RemoteContent = applyChange(EMPTY_CONTENT, one);
        const before = encodeCheckpoint(content, 'w').toString();
        applyChange(content, two);
        expect(encodeCheckpoint(content, 'w').toString()).toBe(before);
        expect(encodeCheckpoint(EMPTY_CONTENT, 'w').toString()).toBe(
          '{"writer":"w","refs":{},"packs":[],"buried":[]}\n',
        );
      }),
    );
  });
});
