/**
 * The programs and libraries of other projects that tests need, and how a Debian machine gets them.
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { findCommand } from './find-command.mjs';
import { hasLibrary } from './find-library.mjs';
import { heading, run, StepFailed } from './step.mjs';

/** Debian package → the commands that tests run out of it. */
const COMMANDS_OF = {
  'qemu-utils': ['qemu-img', 'qemu-io', 'qemu-nbd'],
  'qemu-system-x86': ['qemu-system-x86_64'],
  'qemu-system-common': ['qemu-storage-daemon'],
  'libvirt-daemon': ['libvirtd'],
  'libvirt-daemon-driver-qemu': ['virt-qemu-run'],
  'libvirt-clients': ['virsh'],
  git: ['git'],
  e2fsprogs: ['mke2fs', 'debugfs'],
  nbdkit: ['nbdkit'],
  'libnbd-bin': ['nbdcopy', 'nbdinfo', 'nbdfuse'],
  'python3-libnbd': ['nbdsh'],
  fio: ['fio'],
  'cryptsetup-bin': ['cryptsetup'],
  age: ['age', 'age-keygen'],
  'ceph-mon': ['ceph-mon'],
  'ceph-osd': ['ceph-osd'],
  'ceph-base': ['monmaptool'],
  'ceph-common': ['ceph', 'radosgw-admin'],
  radosgw: ['radosgw'],
};

/** Debian package → the shared libraries that tests load out of it. */
const LIBRARIES_OF = {
  libdeflate0: ['libdeflate.so.0'],
  libisal2: ['libisal.so.2'],
};

/** As {@link LIBRARIES_OF}, of what not every Debian has: tests of it say that they are skipped. */
const LIBRARIES_OF_SOME = {
  'libipsec-mb1': ['libIPSec_MB.so.1'],
};

/** Package → commands of servers, which Debian starts when it installs them: tests of them say that they are skipped. */
const SERVERS_OF = {
  'openssh-server': ['sshd'],
};

/** Is there where systemd runs the machine. */
const SYSTEMD_FOLDER = '/run/systemd/system';

/**
 * The servers that are missing and may be installed: not where one would run from then on that nobody has asked for.
 * @param {(command: string) => string | undefined} find
 * @returns {string[]} names of packages
 */
export function missingServers(find = findCommand, isStartedBySystem = existsSync(SYSTEMD_FOLDER)) {
  if (isStartedBySystem) return [];
  return missingParts(SERVERS_OF, (command) => find(command) !== undefined).map(({ name }) => name);
}

/**
 * The packages of which a command or a library is missing, with what is missing.
 * @param {(command: string) => string | undefined} find
 * @param {(library: string) => boolean} has
 * @returns {{ name: string, parts: string[] }[]}
 */
export function missingPackages(find = findCommand, has = hasLibrary) {
  const commands = missingParts(COMMANDS_OF, (command) => find(command) !== undefined);
  return [...commands, ...missingParts(LIBRARIES_OF, has)];
}

function missingParts(partsOf, isThere) {
  return Object.entries(partsOf)
    .map(([name, parts]) => ({ name, parts: parts.filter((part) => !isThere(part)) }))
    .filter(({ parts }) => parts.length > 0);
}

/**
 * Installs what is missing, or stops with the one line that says how to. Never goes on without: a test that is
 * skipped for want of a program would look like one that passed.
 */
export function ensureSystemPackages({ cwd }) {
  const librariesOfSome = missingParts(LIBRARIES_OF_SOME, hasLibrary).map(({ name }) => name);
  for (const name of [...librariesOfSome, ...missingServers()]) {
    heading(`install system package, if there is one: ${name}`);
    install(cwd, [name]);
  }
  const missing = missingPackages();
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name);
  heading(`install system packages: ${names.join(' ')}`);
  install(cwd, names);
  const still = missingPackages();
  if (still.length > 0) throw new StepFailed(describeMissing(still));
}

function install(cwd, names) {
  const apt = aptGet();
  if (apt === undefined) return;
  // Where the lists cannot be brought up to date, those on the disk may still do.
  run(apt.command, [...apt.args, '-qq', 'update'], { cwd, env: apt.env });
  const options = ['-qq', '-o', 'DPkg::Lock::Timeout=120', 'install', '--yes', '--no-install-recommends'];
  run(apt.command, [...apt.args, ...options, ...names], { cwd, env: apt.env });
}

/** One line that names what is missing and says how to install them. */
export function describeMissing(missing) {
  const parts = missing.flatMap((item) => item.parts).join(', ');
  const names = missing.map(({ name }) => name).join(' ');
  return (
    `the tests need ${parts}: install them, on Debian with: ` +
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
