import { expect, test } from 'vitest';
import type { TestModule } from 'vitest/node';
import { countTotals, totalsLine } from '../plain-line-reporter.ts';

/** A test file as the runner reports it, as far as countTotals looks. */
function testModule(states: string[], moduleErrors = 0, suiteErrors = 0): TestModule {
  return {
    errors: () => new Array(moduleErrors).fill({ message: 'x' }),
    children: {
      allTests: () => states.map((state) => ({ result: () => ({ state }) })),
      allSuites: () => [{ errors: () => new Array(suiteErrors).fill({ message: 'x' }) }],
    },
  } as unknown as TestModule;
}

test('countTotals counts the tests of all files by how they ended', () => {
  const modules = [testModule(['passed', 'failed', 'passed']), testModule(['skipped', 'passed', 'pending'])];
  expect(countTotals(modules, [])).toEqual({ passed: 3, failed: 1, skipped: 2 });
});

test('countTotals counts errors of files, of suites and of nobody as failed', () => {
  expect(countTotals([testModule(['passed'], 1), testModule([], 0, 2)], ['x'])).toEqual({
    passed: 1,
    failed: 4,
    skipped: 0,
  });
});

test('totalsLine leaves out skipped tests when there are none', () => {
  expect(totalsLine({ passed: 7, failed: 0, skipped: 0 }, 0)).toBe('7 passed, 0 failed');
});

test('totalsLine names skipped tests when there are some', () => {
  expect(totalsLine({ passed: 7, failed: 1, skipped: 2 }, 1)).toBe('7 passed, 1 failed, 2 skipped');
});

test('totalsLine says that something failed when the run did, whatever was counted', () => {
  expect(totalsLine({ passed: 0, failed: 0, skipped: 0 }, 1)).toBe('0 passed, 1 failed');
});
