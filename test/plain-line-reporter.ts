import type { SerializedError } from 'vitest';
import type { Reporter, TestModule } from 'vitest/node';

/**
 * Prints the totals of a run as its very last line, in plain text for programs to read:
 * `N passed, N failed`, and `, N skipped` where tests were skipped.
 */
export default class PlainLineReporter implements Reporter {
  #totals: Totals = { passed: 0, failed: 0, skipped: 0 };

  onInit(): void {
    // Coverage and complaints about what hangs are printed after the run's end, so only the exit is late enough.
    process.once('exit', (code) => process.stdout.write(`${totalsLine(this.#totals, code)}\n`));
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    this.#totals = countTotals(modules, unhandled);
  }
}

/** How many tests ended in which way; errors outside of any test count as failed. */
export interface Totals {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Counts test cases, and as failed also each error that belongs to a file, a suite or to nothing at all. */
export function countTotals(modules: readonly TestModule[], unhandled: readonly unknown[]): Totals {
  let passed = 0;
  let skipped = 0;
  let failed = unhandled.length;
  for (const module of modules) {
    failed += module.errors().length;
    for (const suite of module.children.allSuites()) failed += suite.errors().length;
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === 'passed') passed++;
      else if (state === 'failed') failed++;
      else skipped++;
    }
  }
  return { passed, failed, skipped };
}

/** The line itself. A run that exits with an error never says that nothing failed. */
export function totalsLine({ passed, failed, skipped }: Totals, exitCode: number): string {
  const line = `${passed} passed, ${exitCode === 0 ? failed : Math.max(failed, 1)} failed`;
  return skipped === 0 ? line : `${line}, ${skipped} skipped`;
}
