import fc from 'fast-check';

/**
 * Runs before each test file. What properties draw is the same in every run, so that a change is judged by what it changed: IMGSTORE_SEED draws other values, as the long forms do.
 */
fc.configureGlobal({ seed: Number(process.env.IMGSTORE_SEED ?? 1) });
