/**
 * Runs programs and says what they took.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { prepare } from './prepare.mjs';

/** @typedef {import('./tools.mjs').Run} Run */

/**
 * Runs a program to its end, under time(1).
 * @param {readonly string[]} command
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string }} [options]
 * @returns {{ seconds: number, peakBytes: number }} wall time, and the most memory that it or one of its children had
 */
export function measure(command, options = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'imgstore-bench-'));
  const report = join(folder, 'time');
  const started = performance.now();
  const { status, stderr, error } = spawnSync('time', ['-o', report, '-f', '%M', ...command], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  const seconds = (performance.now() - started) / 1000;
  try {
    if (error !== undefined) throw error;
    if (status !== 0) throw new Error(`${command.join(' ')}: exit code ${status}\n${stderr}`);
    return { seconds, peakBytes: Number(readFileSync(report, 'utf8')) * 1024 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a program that is not measured. @param {Run} program */
export function run({ command, ...options }) {
  measure(command, options);
}

/**
 * Runs a program with the machine in the state in which all are measured.
 * @param {Run} program
 * @param {readonly string[]} inputs what it reads
 */
export function measureRun({ command, ...options }, inputs) {
  prepare(inputs);
  return measure(command, options);
}

/** Bytes that files and folders take on the disk. @param {string} path */
export function diskBytes(path) {
  const { stdout } = spawnSync('du', ['-s', '--block-size=1', path], { encoding: 'utf8' });
  return Number(stdout.split('\t')[0]);
}

/** @param {readonly number[]} values */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
