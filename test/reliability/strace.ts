import type { TestContext } from 'vitest';
import { system } from '../acceptance/system.ts';

/** The calls by which an image file is changed where it is. */
export const INJECTED_CALLS = ['pwrite64', 'fallocate', 'ftruncate', 'fsync'] as const;

/** Skips a test where processes may not be traced. */
export function needsStrace(context: TestContext): void {
  try {
    system('strace', '-f', '-qq', '-o', '/dev/null', 'true');
  } catch {
    context.skip('strace is not here, or may not trace');
  }
}

/**
 * The program, with arguments, that runs a command line and has the n-th of its calls meet a fate.
 * @param calls names, with commas between @param n from 1, counted by thread @param fate `signal=SIGKILL`, `error=EIO` @param path of the file that counts; all when not given
 */
export function throughStrace(calls: string, n: number, fate: string, path?: string): string[] {
  const only = path === undefined ? [] : ['-P', path];
  const inject = ['-e', `trace=${calls}`, '-e', `inject=${calls}:${fate}:when=${n}`];
  return ['strace', '-f', '-qq', '-o', '/dev/null', ...only, ...inject];
}
