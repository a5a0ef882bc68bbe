/**
 * `npm run test:faults`, `test:kills`, `test:thrash`, `test:bit-rot`: the tests below test/reliability/ for longer than in `npm test`.
 * The environment says how long, and from which seed: IMGSTORE_KILL_ROUNDS (200), IMGSTORE_THRASH_SECONDS (120), IMGSTORE_FLIPS (1000), IMGSTORE_SEED
 * (that of the clock).
 *
 * Needs the packages of npm and git, which `npm test` installs.
 *
 * @module
 */
import { join } from 'node:path';
import { searchPath } from './setup/find-command.mjs';
import { runPackageScript } from './setup/node-packages.mjs';
import { PROJECT } from './setup/project.mjs';
import { run, runScript, StepFailed } from './setup/step.mjs';

const FORMS = {
  faults: {
    files: [
      ...['fault-sweep', 'crash-sweep', 'kill-sweep', 'full-disk'],
      ...['in-place-kills', 'in-place-power', 'rebase-power', 'tracking-kills'],
    ],
    env: { IMGSTORE_LONG: '1' },
  },
  kills: { files: ['kills', 'tracked-qemu'], env: { IMGSTORE_KILL_ROUNDS: '200' } },
  thrash: { files: ['thrash'], env: { IMGSTORE_THRASH_SECONDS: '120' } },
  'bit-rot': { files: ['bit-rot'], env: { IMGSTORE_FLIPS: '1000' } },
};

const name = process.argv[2] ?? '';

await runScript(`npm run test:${name}`, () => {
  const form = FORMS[name];
  if (form === undefined) throw new StepFailed(`'${name}' is none of ${Object.keys(FORMS).join(', ')}`);
  const at = { cwd: PROJECT };
  runPackageScript('build', at);
  const vitest = join(PROJECT, 'node_modules', 'vitest', 'vitest.mjs');
  const files = form.files.map((file) => `test/reliability/${file}.test.ts`);
  process.exitCode = run(process.execPath, [vitest, 'run', ...files], {
    ...at,
    env: {
      IMGSTORE_SEED: String(Math.floor(Date.now() / 1000)),
      ...form.env,
      ...process.env,
      PATH: searchPath(),
    },
  });
});
