import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { PROGRAM, Workplace } from '../cmd/imgstore.ts';
import { ENVIRONMENT } from './run-here.ts';

const PRELOAD = fileURLToPath(new URL('fault-preload.mjs', import.meta.url));

/** A process that meets a fault. */
export interface Faulty {
  readonly child: ChildProcess;
  /** The exit code, or the signal that has ended it. */
  readonly end: Promise<number | string | null>;
}

/** Starts a command line with a fault: see `fault-preload.mjs`. */
export function startWithFault(folder: string, fault: string, args: readonly string[]): Faulty {
  const env = { ...new Workplace(folder).environment, ...ENVIRONMENT, IMGSTORE_TEST_FAULT: fault };
  const child = spawn(process.execPath, ['--import', PRELOAD, PROGRAM, ...args], {
    cwd: folder,
    env,
    stdio: 'ignore',
  });
  const end = new Promise<number | string | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve(signal ?? status));
  });
  return { child, end };
}
