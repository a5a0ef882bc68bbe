import { expect, test } from 'vitest';
import { printable } from '../../cmd/printable.ts';
import { formatTable } from '../../cmd/table.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

/** Anything that a terminal may obey. */
const OBEYED = /[^\P{Cc}\n\t]/u;

test('printable replaces every control character but tabs and ends of lines', () => {
  expect(printable('a\tb\nc\r\nü 🖴 \u200d')).toBe('a\tb\nc\nü 🖴 \u200d');
  expect(printable('\x1b[2J\x00\x07\b\r\v\x7f\x80\x9b1m\r')).toBe(
    '\\u{1b}[2J\\u{0}\\u{7}\\u{8}\\u{d}\\u{b}\\u{7f}\\u{80}\\u{9b}1m\\u{d}',
  );
  const all = printable(String.fromCodePoint(...Array.from({ length: 0x3000 }, (_, i) => i)));
  expect(all).not.toMatch(OBEYED);
  expect(printable(all)).toBe(all);
});

test('formatTable keeps columns in line where a cell has control characters', () => {
  expect(
    formatTable(
      [],
      [
        ['\x1b[1m', 'b'],
        ['c', 'd'],
      ],
    ),
  ).toBe('\\u{1b}[1m  b\nc          d\n');
});

test('log, show, images, branch and tag print no control characters of messages and names; --json has them', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'web.raw', 1);
  const message = 'one \x1b]0;title\x07\n\nline \x9b31m\n\tindented\r\nend';
  const branch = 'w\x9b1meb';
  const env = { GIT_AUTHOR_NAME: 'An \x1b[31mAuthor' };
  const { finished } = place.start(['commit', 'web.raw', '-b', branch, '-m', message], { env });
  const committed = await finished;
  expect(committed).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\[w\\u\{9b\}1meb /) });
  await place.ok('tag', 'v\x85', branch, '-m', message);
  for (const args of [
    ['log'],
    ['log', branch, '--graph'],
    ['log', '--oneline'],
    ['show', branch],
    ['images'],
    ['branch'],
    ['tag'],
    ['stats'],
  ]) {
    const printed = await place.ok(...args);
    expect(printed, args.join(' ')).not.toMatch(OBEYED);
    if (args[0] !== 'stats') expect(printed, args.join(' ')).toMatch(/\\u\{(9b|85|1b)\}/);
  }
  expect(await place.ok('show', branch)).toContain(
    '    one \\u{1b}]0;title\\u{7}\n\n    line \\u{9b}31m\n    \tindented\n    end\n',
  );
  expect(await place.json('show', branch)).toMatchObject({ message });
  expect(await place.json('log')).toMatchObject([{ message, branch, author: { name: env.GIT_AUTHOR_NAME } }]);
  expect(await place.json('images')).toMatchObject([{ name: branch }]);

  expect(oneLine(await place.run('show', 'no\x1b[2Jsuch'))).toContain('no\\u{1b}[2Jsuch');
  const failed = await place.run('show', 'no\x1b[2Jsuch', '--json');
  expect(JSON.parse(failed.stdout).error.message).toContain('no\x1b[2Jsuch');
});
