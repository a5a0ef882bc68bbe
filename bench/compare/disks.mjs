/**
 * The disks of a comparison.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installPackages } from './install.mjs';

const MAKE_DEBIAN = fileURLToPath(new URL('../history/make-disks.sh', import.meta.url));
const MAKE_PLAIN = fileURLToPath(new URL('plain-disks.sh', import.meta.url));

/**
 * Makes what is not there yet: a server's disk, a copy of it under another path, and its next version.
 * @param {string} folder
 * @returns {import('./jobs.mjs').Disks}
 */
export function makeDisks(folder) {
  mkdirSync(folder, { recursive: true });
  const disks = {
    first: join(folder, 'web-1.qcow2'),
    copy: join(folder, 'copy', 'other.qcow2'),
    next: join(folder, 'next-1.qcow2'),
  };
  if (!existsSync(disks.next)) {
    process.stderr.write('making disks\n');
    const isRoot = process.getuid?.() === 0;
    installPackages(['qemu-utils', 'e2fsprogs', ...(isRoot ? ['debootstrap'] : [])], []);
    run(...(isRoot ? [MAKE_DEBIAN, folder, '4G', 'web-1', 'next-1'] : [MAKE_PLAIN, folder]));
  }
  mkdirSync(join(folder, 'copy'), { recursive: true });
  if (!existsSync(disks.copy)) copyFileSync(disks.first, disks.copy);
  return disks;
}

/** @param {readonly string[]} command */
function run(...command) {
  const { status } = spawnSync('bash', command, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) throw new Error(`${command.join(' ')}: exit code ${status}`);
}
