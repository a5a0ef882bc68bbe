import { onTestFinished } from 'vitest';
import { type PointName, watchPoints } from '../../files/index.ts';

/** Writes down the points that the test passes from here on. */
export function recordPoints(): { readonly point: PointName; readonly path: string }[] {
  const passed: { point: PointName; path: string }[] = [];
  onTestFinished(watchPoints((point, path) => passed.push({ point, path })));
  return passed;
}

/** What a failing disk throws. */
export function noSpace(): Error {
  return Object.assign(new Error('no space left on device'), {
    code: 'ENOSPC',
    errno: -28,
    syscall: 'write',
  });
}

/**
 * Runs `work` with a failing disk at each point that it passes in turn, until it passes all; `check` sees what each failure left.
 * Returns the points that failed.
 */
export async function failAtEach(
  work: () => Promise<void>,
  check: (error: unknown, point: PointName) => void | Promise<void>,
): Promise<PointName[]> {
  const failed: PointName[] = [];
  for (;;) {
    let count = 0;
    let at: PointName | undefined;
    const stop = watchPoints((point) => {
      if (count++ !== failed.length) return;
      at = point;
      throw noSpace();
    });
    let error: unknown;
    try {
      await work();
    } catch (caught) {
      error = caught;
    } finally {
      stop();
    }
    if (at === undefined) {
      if (error !== undefined) throw error;
      return failed;
    }
    failed.push(at);
    await check(error, at);
  }
}
