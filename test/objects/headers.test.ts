import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeHeaders, parseHeaders, requireHeader } from '../../objects/headers.ts';
import { damage } from './damage.ts';

const text = fc
  .array(fc.string({ unit: 'grapheme' }).map((line) => line.replaceAll('\n', '')))
  .map((lines) => lines.join('\n'));
const lines = fc.array(fc.record({ key: fc.stringMatching(/^[a-z]{1,8}$/), value: text }), { maxLength: 5 });

test('parseHeaders is the inverse of encodeHeaders', () => {
  fc.assert(
    fc.property(lines, text, (headers, message) => {
      expect(parseHeaders(encodeHeaders(headers, message))).toEqual({ lines: headers, message });
    }),
    {
      examples: [
        [[], ''],
        [[], '\n\n'],
        [[{ key: 'a', value: '\n\n' }], '\n\nx\n'],
      ],
    },
  );
});

test('parseHeaders reads headers when there is no message', () => {
  const expected = { lines: [{ key: 'a', value: 'b' }], message: '' };
  for (const data of ['a b', 'a b\n', 'a b\n\n']) expect(parseHeaders(Buffer.from(data))).toEqual(expected);
  expect(parseHeaders(Buffer.alloc(0))).toEqual({ lines: [], message: '' });
});

test.each(['key\n\n', ' continued\n\nmessage', 'a b\nkey\n\n'])(
  'parseHeaders throws DAMAGED for %j',
  (data) => {
    expect(damage(() => parseHeaders(Buffer.from(data))).message).toContain('has no key');
  },
);

test('requireHeader throws DAMAGED naming kind and key when the line is missing', () => {
  expect(requireHeader('tag', [{ key: 'a', value: 'b' }], 'a')).toBe('b');
  expect(damage(() => requireHeader('tag', [{ key: 'a', value: 'b' }], 'c')).message).toBe(
    "a tag has no 'c' line",
  );
});
