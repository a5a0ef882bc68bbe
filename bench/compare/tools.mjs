/**
 * imgstore and its peers: how each makes a place, stores an image there, and writes it out again.
 *
 * @module
 */
import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../dist/cmd/main.js', import.meta.url));

/**
 * @typedef {{ command: readonly string[], env?: NodeJS.ProcessEnv, cwd?: string }} Run
 * @typedef {{
 *   name: string,
 *   packages: readonly string[],
 *   init: (place: string) => Run,
 *   store: (place: string, image: string, label: string) => Run,
 *   restore: (place: string, image: string, label: string, output: string) => Run,
 *   mount?: (place: string, label: string, at: string) => Run & { tree: string },
 * }} Tool `mount` shows what was stored at `at` until it is interrupted; images stand below `tree` with their whole paths
 */

/** @type {Tool} */
export const imgstore = {
  name: 'imgstore',
  packages: [],
  init: (place) => ours(['init', '--quiet', place]),
  store: (place, image) => ours(['--store', place, 'commit', '--quiet', '-b', 'disk', image]),
  restore: (place, _image, _label, output) =>
    ours(['--store', place, 'checkout', '--quiet', 'disk', '-o', output]),
};

/** @param {readonly string[]} args @returns {Run} */
export function ours(args) {
  // What whoever measures has set up for git is none of the measurement's.
  const env = { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' };
  return { command: [process.execPath, PROGRAM, ...args], env };
}

/** @param {string} place */
function resticEnv(place) {
  return {
    RESTIC_REPOSITORY: join(place, 'repo'),
    RESTIC_PASSWORD: 'bench',
    RESTIC_CACHE_DIR: join(place, 'cache'),
  };
}

/** @type {Tool} */
const restic = {
  name: 'restic',
  packages: ['restic'],
  init: (place) => ({
    command: ['restic', 'init', '--repository-version', '2'],
    env: resticEnv(place),
  }),
  store: (place, image, label) => ({
    command: ['restic', 'backup', '--tag', label, image],
    env: resticEnv(place),
  }),
  restore: (place, _image, label, output) => ({
    command: ['restic', 'restore', 'latest', '--tag', label, '--target', output],
    env: resticEnv(place),
  }),
  mount: (place, label, at) => ({
    command: ['restic', 'mount', '--tag', label, at],
    env: resticEnv(place),
    tree: join(at, 'snapshots', 'latest'),
  }),
};

/** @param {string} place */
function borgEnv(place) {
  return {
    BORG_REPO: join(place, 'repo'),
    BORG_BASE_DIR: join(place, 'base'),
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
    BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
  };
}

/** @param {string} name @param {readonly string[]} options @returns {Tool} */
function borg(name, options) {
  return {
    name,
    packages: ['borgbackup'],
    init: (place) => ({ command: ['borg', 'init', '-e', 'none'], env: borgEnv(place) }),
    store: (place, image, label) => ({
      command: ['borg', 'create', '--compression', 'lz4', ...options, `::${label}`, image],
      env: borgEnv(place),
    }),
    restore: (place, _image, label, output) => {
      mkdirSync(output, { recursive: true });
      return { command: ['borg', 'extract', `::${label}`], env: borgEnv(place), cwd: output };
    },
    mount: (place, label, at) => ({
      command: ['borg', 'mount', '--foreground', `::${label}`, at],
      env: borgEnv(place),
      tree: at,
    }),
  };
}

/** @type {Tool} */
const casync = {
  name: 'casync',
  packages: ['casync'],
  init: (place) => ({ command: ['mkdir', '-p', join(place, 'store.castr')] }),
  store: (place, image, label) => ({
    command: [
      'casync',
      'make',
      `--store=${join(place, 'store.castr')}`,
      join(place, `${label}.caibx`),
      image,
    ],
  }),
  restore: (place, image, label, output) => {
    mkdirSync(output, { recursive: true });
    const file = join(output, basename(image));
    const from = join(place, `${label}.caibx`);
    return { command: ['casync', 'extract', `--store=${join(place, 'store.castr')}`, from, file] };
  },
};

export const PEERS = [
  borg('borg lz4', []),
  borg('borg lz4, fixed 64 KiB', ['--chunker-params', 'fixed,65536']),
  restic,
  casync,
];

/** Debian packages of tools, and of what measures them. @param {readonly Tool[]} tools */
export function packagesOf(tools) {
  return [...new Set(['time', ...tools.flatMap(({ packages }) => packages)])];
}
