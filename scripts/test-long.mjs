/**
 * `npm run test:long`: the tests that make images by chance and compare with QEMU, for many more images than
 * `npm test` does, and those that set every field of images to all that is wrong. The environment says which images
 * are made: IMGSTORE_SEED (the first, 1), IMGSTORE_COUNT (400).
 *
 * Needs the packages of npm and qemu-utils, which `npm test` installs.
 *
 * @module
 */
import { join } from 'node:path';
import { searchPath } from './setup/find-command.mjs';
import { PROJECT } from './setup/project.mjs';
import { run, runScript } from './setup/step.mjs';

await runScript('npm run test:long', () => {
  const vitest = join(PROJECT, 'node_modules', 'vitest', 'vitest.mjs');
  process.exitCode = run(process.execPath, [vitest, 'run', 'test/qcow2/differential', 'test/qcow2/hostile'], {
    cwd: PROJECT,
    env: { ...process.env, PATH: searchPath(), IMGSTORE_LONG: '1' },
  });
});
