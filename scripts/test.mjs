/**
 * `npm test`: everything from a bare machine to the last test.
 *
 * Installs the system's and npm's packages where they are missing, builds, runs the checks, then the tests.
 * Arguments go to vitest: `npm test -- test/qcow2`.
 *
 * @module
 */
import { join } from 'node:path';
import { searchPath } from './setup/find-command.mjs';
import { ensureNodePackages, runPackageScript } from './setup/node-packages.mjs';
import { requireNodeVersion } from './setup/node-version.mjs';
import { PROJECT } from './setup/project.mjs';
import { heading, run, runScript } from './setup/step.mjs';
import { ensureSystemPackages } from './setup/system-packages.mjs';

await runScript('npm test', () => {
  const at = { cwd: PROJECT };
  requireNodeVersion();
  ensureSystemPackages(at);
  ensureNodePackages(at);
  runPackageScript('build', at);
  runPackageScript('check', at);
  heading('vitest');
  const vitest = join(PROJECT, 'node_modules', 'vitest', 'vitest.mjs');
  process.exitCode = run(process.execPath, [vitest, 'run', ...process.argv.slice(2)], {
    ...at,
    // Tests start mke2fs and debugfs by name.
    env: { ...process.env, PATH: searchPath() },
  });
});
