import { expect, test } from 'vitest';
import { Notices } from '../../../nbd/server/notices.ts';

/** Notices on a clock that stands still until it is set. */
function collected() {
  const clock = { ms: 1000 };
  const lines: string[] = [];
  const notices = new Notices(
    (line) => lines.push(line),
    () => clock.ms,
  );
  return { clock, lines, notices };
}

test('Notices leave out what is too much, tell how much that was, and give others later', () => {
  const { clock, lines, notices } = collected();
  for (let i = 0; i < 50; i++) notices.give(`line ${i}`);
  expect(lines).toHaveLength(20);
  clock.ms += 3000;
  notices.give('later');
  notices.give('too much again');
  expect(lines.slice(20)).toEqual(['30 notices were left out', 'later']);
  notices.sayLeftOut();
  notices.sayLeftOut();
  expect(lines.slice(22)).toEqual(['1 notice was left out']);
  clock.ms += 3_600_000;
  for (let i = 0; i < 50; i++) notices.give(`line ${i}`);
  expect(lines).toHaveLength(23 + 20);
});

test('Notices do not repeat what was said last within a minute', () => {
  const { clock, lines, notices } = collected();
  for (const text of ['a', 'a', 'b', 'a']) notices.give(text);
  clock.ms += 60_000;
  notices.give('a');
  expect(lines).toEqual(['a', 'b', 'a', 'a']);
});

test('Notices are lines of bounded length without control characters', () => {
  const { lines, notices } = collected();
  notices.give('web\r\n\u001b[31mred\u0085\u2028\u202e');
  notices.give('x'.repeat(5000));
  expect(lines).toEqual(['web\\u{d}\\u{a}\\u{1b}[31mred\\u{85}\\u{2028}\\u{202e}', `${'x'.repeat(1000)}…`]);
});
