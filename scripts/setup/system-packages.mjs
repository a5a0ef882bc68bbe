/**
 * The programs of other projects that tests check imgstore against, and how a Debian machine gets them.
 *
 * @module
 */
import { findCommand } from './find-command.mjs';
import { heading, run, StepFailed } from './step.mjs';

/** Debian package → the commands that tests run out of it. */
const COMMANDS_OF = {
  'qemu-utils': ['qemu-img', 'qemu-io', 'qemu-nbd'],
  git: ['git'],
  e2fsprogs: ['mke2fs', 'debugfs'],
  nbdkit: ['nbdkit'],
  'cryptsetup-bin': ['cryptsetup'],
};

/**
 * The packages of which a command is missing, with the missing commands.
 * @param {(command: string) => string | undefined} find
 * @returns {{ name: string, commands: string[] }[]}
 */
export function missingPackages(find = findCommand) {
  return Object.entries(COMMANDS_OF)
    .map(([name, commands]) => ({
      name,
      commands: commands.filter((command) => find(command) === undefined),
    }))
    .filter(({ commands }) => commands.length > 0);
}

/**
 * Installs what is missing, or stops with the one line that says how to. Never goes on without: a test that is
 * skipped for want of a program would look like one that passed.
 */
export function ensureSystemPackages({ cwd }) {
  const missing = missingPackages();
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name);
  heading(`install system packages: ${names.join(' ')}`);
  const apt = aptGet();
  if (apt !== undefined) {
    // Where the lists cannot be brought up to date, those on the disk may still do.
    run(apt.command, [...apt.args, '-qq', 'update'], { cwd, env: apt.env });
    const install = ['-qq', '-o', 'DPkg::Lock::Timeout=120', 'install', '--yes', '--no-install-recommends'];
    run(apt.command, [...apt.args, ...install, ...names], { cwd, env: apt.env });
  }
  const still = missingPackages();
  if (still.length > 0) throw new StepFailed(describeMissing(still));
}

/** One line that names the missing commands and says how to install them. */
export function describeMissing(missing) {
  const commands = missing.flatMap((item) => item.commands).join(', ');
  const names = missing.map(({ name }) => name).join(' ');
  return (
    `the tests need ${commands}: install them, on Debian with: ` +
    `sudo apt-get update && sudo apt-get install --yes --no-install-recommends ${names}`
  );
}

/** How this user runs apt-get without being asked anything, or undefined where that is not possible. */
function aptGet() {
  const command = findCommand('apt-get');
  if (command === undefined) return undefined;
  if (process.getuid?.() === 0) {
    return { command, args: [], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  }
  const sudo = findCommand('sudo');
  if (sudo === undefined) return undefined;
  // sudo drops the environment, so the variable is set on its far side.
  const args = ['-n', 'env', 'DEBIAN_FRONTEND=noninteractive', command];
  return { command: sudo, args, env: process.env };
}
