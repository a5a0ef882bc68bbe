/**
 * `npm run build`: dist/ from nothing, with the commands of package.json executable.
 *
 * What tsc makes, a file for each of the sources, is joined into one for each way in and some that they share: Node takes half a millisecond and more to load a module,
 * and `imgstore log` would load three hundred (0.35 s of processor time, 0.13 s joined). Declarations stay as they are.
 *
 * @module
 */
import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { joinModules } from './setup/join-modules.mjs';
import { PROJECT } from './setup/project.mjs';
import { run, runScript, StepFailed } from './setup/step.mjs';

const DIST = join(PROJECT, 'dist');

await runScript('npm run build', async () => {
  // A file left from an earlier build would be packed with the rest.
  rmSync(DIST, { recursive: true, force: true });
  const tsc = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc');
  if (run(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: PROJECT }) !== 0) {
    throw new StepFailed('tsc found errors: see its messages above');
  }
  const { bin } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
  await joinModules(DIST, Object.values(bin));
  for (const program of Object.values(bin)) {
    const path = join(PROJECT, program);
    if (!existsSync(path))
      throw new StepFailed(`${program} was not built, but package.json names it as a command`);
    chmodSync(path, 0o755);
  }
});
