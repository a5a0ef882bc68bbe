/**
 * `npm run fuzz`: the qcow2 fuzzer for longer than in `npm test`. The environment says how long:
 * IMGSTORE_FUZZ_SECONDS (300), and from which seed: IMGSTORE_SEED (that of the clock). What it finds it keeps in
 * test/qcow2/fuzz/regressions/, which the tests go through from then on.
 *
 * Needs the packages of npm only.
 *
 * @module
 */
import { join } from 'node:path';
import { PROJECT } from './setup/project.mjs';
import { run, runScript } from './setup/step.mjs';

await runScript('npm run fuzz', () => {
  const vitest = join(PROJECT, 'node_modules', 'vitest', 'vitest.mjs');
  process.exitCode = run(process.execPath, [vitest, 'run', 'test/qcow2/fuzz'], {
    cwd: PROJECT,
    env: {
      IMGSTORE_FUZZ_SECONDS: '300',
      IMGSTORE_SEED: String(Math.floor(Date.now() / 1000)),
      ...process.env,
    },
  });
});
