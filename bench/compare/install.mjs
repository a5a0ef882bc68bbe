/**
 * The programs of a comparison.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';

/** Debian packages whose program has another name. */
const PROGRAMS = {
  borgbackup: 'borg',
  fuse3: 'fusermount3',
  'qemu-utils': 'qemu-img',
  e2fsprogs: 'mke2fs',
};
/** Where debootstrap and mke2fs are, for users other than root too. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;

/**
 * Installs what is missing.
 * @param {readonly string[]} packages ends the bench when one cannot be had
 * @param {readonly string[]} wished without these a tool is left out of a table
 */
export function installPackages(packages, wished) {
  const missing = packages.filter((name) => !isThere(name));
  if (missing.length > 0 && !install(missing)) {
    console.error(`bench: install ${missing.join(' ')} first`);
    process.exit(2);
  }
  for (const name of wished.filter((name) => !isThere(name)))
    if (!install([name])) console.error(`bench: ${name} is missing and cannot be installed`);
}

/** @param {string} name */
function isThere(name) {
  if (name === 'python3-pyfuse3') return spawnSync('python3', ['-c', 'import pyfuse3']).status === 0;
  return spawnSync('which', [PROGRAMS[name] ?? name], { env: { ...process.env, PATH } }).status === 0;
}

/** @param {readonly string[]} packages */
function install(packages) {
  const command = ['install', '-y', '--no-install-recommends', ...packages];
  return spawnSync('apt-get', command, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
}
