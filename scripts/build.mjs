/**
 * `npm run build`: dist/ from nothing, with the commands of package.json executable.
 *
 * @module
 */
import { chmodSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { PROJECT } from './setup/project.mjs';
import { run, runScript, StepFailed } from './setup/step.mjs';

await runScript('npm run build', () => {
  // A file left from an earlier build would be packed with the rest.
  rmSync(join(PROJECT, 'dist'), { recursive: true, force: true });
  const tsc = join(PROJECT, 'node_modules', 'typescript', 'bin', 'tsc');
  if (run(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: PROJECT }) !== 0) {
    throw new StepFailed('tsc found errors: see its messages above');
  }
  const { bin } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
  for (const program of Object.values(bin)) {
    const path = join(PROJECT, program);
    if (!existsSync(path))
      throw new StepFailed(`${program} was not built, but package.json names it as a command`);
    chmodSync(path, 0o755);
  }
});
