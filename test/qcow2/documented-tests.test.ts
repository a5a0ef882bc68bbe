import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const DOCUMENT = readFileSync(new URL('../../docs/format/qcow2.md', import.meta.url), 'utf8');
const FEATURES = DOCUMENT.slice(DOCUMENT.indexOf('## Features'), DOCUMENT.indexOf('Limits, mostly'));

test('the table of qcow2 features names test files that are there, at least one for each feature', () => {
  const cells = FEATURES.split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| feature'))
    .map((line) => line.split(' | ').at(-1)!);
  expect(cells.length).toBeGreaterThan(20);
  const items = FEATURES.split('\n').filter((line) => /^- `/.test(line));
  expect(items.length).toBeGreaterThan(4);
  for (const text of [...cells, ...items.map((line) => line.split(' ')[1]!)]) {
    const names = [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1]);
    expect(names, text).not.toEqual([]);
    for (const name of names) {
      expect({ name, exists: existsSync(new URL(`${name}.test.ts`, import.meta.url)) }).toEqual({
        name,
        exists: true,
      });
    }
  }
});
