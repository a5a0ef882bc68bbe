/**
 * node_modules, brought to what package-lock.json says.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { heading, run, runQuietly, StepFailed } from './step.mjs';

/**
 * True when node_modules holds what package-lock.json asks for.
 *
 * Compares content, not times: a checkout gives the lock file the time of the checkout. The record that npm keeps
 * inside of node_modules has the same form, without the root package and the optional packages of other systems.
 * @param {string} root the project's folder
 */
export function nodePackagesMatchLock(root) {
  const wanted = readPackages(join(root, 'package-lock.json'));
  const present = readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (wanted === undefined || present === undefined) return false;
  const same = (a, b) => a?.version === b?.version && a?.integrity === b?.integrity;
  return (
    Object.entries(present).every(([place, entry]) => same(entry, wanted[place])) &&
    Object.entries(wanted).every(
      ([place, entry]) => place === '' || place in present || entry.optional || entry.devOptional,
    )
  );
}

/** Runs `npm ci` unless node_modules is what package-lock.json says already. */
export function ensureNodePackages({ cwd }) {
  if (nodePackagesMatchLock(cwd)) return;
  heading('npm ci');
  // Development packages too, even under NODE_ENV=production: the build and the tests are made of them.
  const flags = ['--include=dev', '--no-audit', '--no-fund'];
  const ci = runQuietly(...npm('ci', ...flags), { cwd });
  if (ci.status === 0) return;
  process.stderr.write(ci.output);
  throw new StepFailed('npm ci failed: see its message above');
}

/** Runs one script of package.json under a heading and stops where it fails. */
export function runPackageScript(script, { cwd }) {
  heading(`npm run ${script}`);
  if (run(...npm('run', '--silent', script), { cwd }) !== 0) throw new StepFailed(`npm run ${script} failed`);
}

/** Command and arguments of the npm that started this script, if one did: it need not be the first in PATH. */
function npm(...args) {
  const path = process.env.npm_execpath;
  return path !== undefined && basename(path) === 'npm-cli.js'
    ? [process.execPath, [path, ...args]]
    : ['npm', args];
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined; // missing or cut short: as good as not installed
  }
}
