/**
 * Puts the machine into the same state before every measured run.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, statfsSync } from 'node:fs';
import { freemem } from 'node:os';

/** A folder whose files are memory. */
const MEMORY_FOLDER = '/dev/shm';
/** Bytes of memory that are touched at most: more than any tool of the comparison takes, and fast to write. */
const MOST_TOUCHED = 1.2e9;

/**
 * Touches free memory and gives it back, so that no tool pays for pages that a hypervisor has taken from the machine; writes out what is to be
 * written; reads the inputs, so that all tools find them in the page cache.
 * @param {readonly string[]} inputs files, and folders with all that is in them
 */
export function prepare(inputs) {
  touchMemory();
  spawnSync('sync');
  if (inputs.length > 0)
    spawnSync('find', [...inputs, '-type', 'f', '-exec', 'cat', '{}', '+'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
}

function touchMemory() {
  if (!existsSync(MEMORY_FOLDER)) return;
  const { bavail, bsize } = statfsSync(MEMORY_FOLDER);
  const bytes = Math.floor(Math.min(MOST_TOUCHED, freemem() / 4, (bavail * bsize) / 2));
  const file = `${MEMORY_FOLDER}/imgstore-bench-${process.pid}`;
  // The file has lost its name before anything is in it: its memory comes back whatever ends the bench.
  const script = 'exec 3>"$1" && rm "$1" && dd if=/dev/zero bs=1M iflag=count_bytes count="$2" >&3';
  spawnSync('sh', ['-c', script, 'sh', file, String(bytes)], { stdio: 'ignore' });
}
