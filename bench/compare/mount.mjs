/**
 * Reading from what a tool mounts with FUSE.
 *
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MILLISECONDS = 50;

/**
 * Mounts what a tool has stored, lets somebody read an image there, and unmounts it.
 * @template T
 * @param {import('./tools.mjs').Run & { tree: string }} program
 * @param {string} at made and removed
 * @param {string} image the path under which it was stored
 * @param {(file: string) => T} use
 * @returns {Promise<T & { peakBytes: number | undefined }>} what `use` gave, and the most memory that the mounting program had
 * @throws Error saying why, when it cannot be mounted on this machine
 */
export async function readMounted({ command, env, tree }, at, image, use) {
  if (!existsSync('/dev/fuse')) throw new Error('no /dev/fuse');
  mkdirSync(at, { recursive: true });
  const [program, ...args] = command;
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let messages = '';
  child.stderr.on('data', (text) => {
    messages += text;
  });
  let isRunning = true;
  const ended = new Promise((resolve) => {
    child.once('close', resolve);
    // There is no such program: nothing else comes.
    child.once('error', ({ message }) => {
      messages = message;
      resolve(undefined);
    });
  }).then(() => {
    isRunning = false;
  });
  try {
    const file = join(tree, image);
    while (isRunning && !existsSync(file)) await sleep(POLL_MILLISECONDS);
    if (!isRunning) throw new Error(messages.trim().split('\n').at(-1) || 'it does not mount');
    return { ...use(file), peakBytes: peakOf(child.pid) };
  } finally {
    if (isRunning && spawnSync('fusermount3', ['-u', at]).status !== 0) child.kill('SIGINT');
    await ended;
    rmdirSync(at);
  }
}

/** The most memory that a running process had, as far as the system tells. @param {number | undefined} pid */
function peakOf(pid) {
  const status = `/proc/${pid}/status`;
  if (!existsSync(status)) return undefined;
  const kibibytes = /^VmHWM:\s*(\d+)/m.exec(readFileSync(status, 'utf8'))?.[1];
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024;
}
