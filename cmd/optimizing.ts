import { setFlagsFromString } from 'node:v8';

/**
 * Bytes of bytecode that a function runs before V8 optimizes it; 67584 in Node 20 unless told. With that, `serve` copies a disk a tenth slower the first time, and with 1000000 it answers random reads a
 * tenth slower in its first seconds.
 */
const LONG_BUDGET = 150_000;
const LATE_BUDGET = 1_000_000;

/**
 * Makes V8 optimize later. Most verbs are done after a second or two, and native code does most of their work: with the usual budget, the compiler took 0.2 s of the 1.2 s of processor time of committing
 * 712 MiB of known bytes. What runs long is still optimized.
 */
export function optimizeLate(): void {
  setBudget(LATE_BUDGET);
}

/** For verbs that run long and do a little for each of many requests. */
export function optimizeForLong(): void {
  setBudget(LONG_BUDGET);
}

/** Node 20 only: later ones count otherwise, and compile in two steps. */
function setBudget(bytes: number): void {
  if (process.versions.v8.startsWith('11.')) setFlagsFromString(`--interrupt-budget=${bytes}`);
}
