/**
 * `npm run demo`: prepares the project, then tells the story in demo/story.mjs.
 *
 * Nothing is installed in the system. The story uses git and qemu-img as witnesses where the machine has them;
 * what is missing is said here and reaches the story as undefined.
 *
 * @module
 */
import { findCommand } from './setup/find-command.mjs';
import { ensureNodePackages, runPackageScript } from './setup/node-packages.mjs';
import { requireNodeVersion } from './setup/node-version.mjs';
import { PROJECT } from './setup/project.mjs';
import { runScript } from './setup/step.mjs';

await runScript('npm run demo', async () => {
  const at = { cwd: PROJECT };
  requireNodeVersion();
  ensureNodePackages(at);
  runPackageScript('build', at);
  const witnesses = { git: findCommand('git'), qemuImg: findCommand('qemu-img') };
  if (witnesses.git === undefined) console.log('git is not on this machine: the demo goes on without it');
  if (witnesses.qemuImg === undefined) {
    console.log('qemu-img is not on this machine (Debian package qemu-utils): the demo goes on without it');
  }
  // Imported only now: the story may use what the steps above have made.
  const { tellStory } = await import('./demo/story.mjs');
  await tellStory({ project: PROJECT, ...witnesses });
});
