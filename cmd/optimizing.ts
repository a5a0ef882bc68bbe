import { setFlagsFromString } from 'node:v8';

/** Bytes of bytecode that a function runs before V8 optimizes it, as Node 20 comes. */
const USUAL_BUDGET = 67_584;
const LATE_BUDGET = 1_000_000;

/**
 * Makes V8 optimize later. Most verbs are done after a second or two, and native code does most of their work: with the usual budget, the compiler took 0.2 s of the 1.2 s of processor time of committing
 * 712 MiB of known bytes. What runs long is still optimized.
 */
export function optimizeLate(): void {
  setBudget(LATE_BUDGET);
}

/** For verbs that run long, doing a little for each of many requests: `serve` answers a quarter more of them in its first seconds. */
export function optimizeAsUsual(): void {
  setBudget(USUAL_BUDGET);
}

/** Node 20 only: later ones count otherwise, and compile in two steps. */
function setBudget(bytes: number): void {
  if (process.versions.v8.startsWith('11.')) setFlagsFromString(`--interrupt-budget=${bytes}`);
}
