/**
 * On what was measured, and what.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';

const PROGRAMS = [
  ['restic', 'version'],
  ['borg', '--version'],
  ['casync', '--version'],
  ['git', '--version'],
];

/** Processors, memory, and versions of the programs that are there. */
export function describeMachine() {
  const processors = cpus();
  return {
    date: new Date().toISOString(),
    processors: `${processors.length} × ${processors[0]?.model ?? 'unknown'}`,
    memoryBytes: totalmem(),
    node: process.version,
    programs: PROGRAMS.map(([program, flag]) => spawnSync(program, [flag], { encoding: 'utf8' }))
      .filter(({ status }) => status === 0)
      .map(({ stdout }) => stdout.trim().split('\n')[0]),
  };
}
