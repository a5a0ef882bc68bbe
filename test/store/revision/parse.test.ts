import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseRevision, type RevisionStep } from '../../../store/revision/parse.ts';

test.each<[string, string, RevisionStep[]]>([
  ['web', 'web', []],
  ['@', 'HEAD', []],
  ['@~2', 'HEAD', [{ kind: 'ancestor', count: 2 }]],
  ['@{3}', 'HEAD', [{ kind: 'reflog', back: 3 }]],
  ['web@', 'web@', []],
  ['a/b.c-d', 'a/b.c-d', []],
  ['web~', 'web', [{ kind: 'ancestor', count: 1 }]],
  ['web^', 'web', [{ kind: 'parent', number: 1 }]],
  ['web^0', 'web', [{ kind: 'parent', number: 0 }]],
  ['web~0', 'web', [{ kind: 'ancestor', count: 0 }]],
  ['v1^{}', 'v1', [{ kind: 'peel', to: 'any' }]],
  [
    'v1^{commit}^{tree}',
    'v1',
    [
      { kind: 'peel', to: 'commit' },
      { kind: 'peel', to: 'tree' },
    ],
  ],
  [
    'web@{1}~2^3',
    'web',
    [
      { kind: 'reflog', back: 1 },
      { kind: 'ancestor', count: 2 },
      { kind: 'parent', number: 3 },
    ],
  ],
])('parseRevision takes %s apart', (text, name, steps) => {
  expect(parseRevision(text)).toEqual({ name, steps });
});

function write(step: RevisionStep): string {
  if (step.kind === 'ancestor') return `~${step.count}`;
  if (step.kind === 'parent') return `^${step.number}`;
  if (step.kind === 'reflog') return `@{${step.back}}`;
  return `^{${step.to === 'any' ? '' : step.to}}`;
}

test('parseRevision reads back any name and steps that are written', () => {
  const number = fc.nat(999_999_999);
  const step = fc.oneof(
    fc.record({ kind: fc.constant('ancestor' as const), count: number }),
    fc.record({ kind: fc.constant('parent' as const), number }),
    fc.record({
      kind: fc.constant('peel' as const),
      to: fc.constantFrom('commit' as const, 'tree' as const, 'any' as const),
    }),
  );
  const reflog = fc.record({ kind: fc.constant('reflog' as const), back: number });
  const name = fc.string({ unit: fc.constantFrom(...'aZ09/.-_@{}ü'.split('')), minLength: 1 });
  fc.assert(
    fc.property(
      name.filter((text) => !text.includes('@{') && text !== '@'),
      fc.option(reflog, { nil: undefined }),
      fc.array(step, { maxLength: 4 }),
      (text, first, rest) => {
        const steps = [...(first === undefined ? [] : [first]), ...rest];
        // A name that ends in @ joins a brace behind it only if there is one.
        expect(parseRevision(text + steps.map(write).join(''))).toEqual({ name: text, steps });
      },
    ),
  );
});

test.each([
  '',
  '~1',
  '^',
  '^web',
  'web~x',
  'web^{blob}',
  'web^{',
  'web@{',
  'web@{}',
  'web@{-1}',
  'web@{yesterday}',
  'web~1@{1}',
  'web^^{x}',
  'web~9999999999',
  'a~b',
])('parseRevision throws USAGE for %j', (text) => {
  expect(() => parseRevision(text)).toThrow(
    expect.objectContaining({ code: 'USAGE', message: expect.stringContaining(`'${text}'`) }),
  );
});
