import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { temporaryFolder } from '../block/temporary-folder.ts';

/** A server of another project on a unix socket; it ends with the test. */
export interface Served {
  readonly socket: string;
  readonly child: ChildProcess;
}

/** Starts `command` with arguments that the socket's path goes into, and waits until it listens. */
async function start(
  command: string,
  argumentsFor: (socket: string) => readonly string[],
  port?: number,
): Promise<Served> {
  const socket = join(await temporaryFolder(), 's');
  const child = spawn(command, argumentsFor(socket), { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += String(chunk);
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  });
  while (!(await listens(port ?? socket))) {
    if (child.exitCode !== null) throw new Error(`${command}: ${child.exitCode}: ${errors}`);
    await sleep(5);
  }
  return { socket, child };
}

/** The socket's file is there a moment before anybody listens. */
function listens(address: string | number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = typeof address === 'number' ? connect(address, '127.0.0.1') : connect(address);
    socket.on('error', () => resolve(false));
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

/** `qemu-nbd` with an image; it stays when clients go. */
export function qemuNbd(image: string, ...options: readonly string[]): Promise<Served> {
  return start('qemu-nbd', (socket) => ['-r', '-t', '-k', socket, ...options, image]);
}

/** `nbdkit` with filters, a plugin and their parameters. */
export function nbdkit(...args: readonly string[]): Promise<Served> {
  return start('nbdkit', (socket) => ['-f', '-U', socket, ...args]);
}

/** The same on a TCP port of this machine. */
export function nbdkitOnPort(port: number, ...args: readonly string[]): Promise<Served> {
  return start('nbdkit', () => ['-f', '-i', '127.0.0.1', '-p', String(port), ...args], port);
}

/** A file with these bytes, gone after the test. */
export async function fileOf(bytes: Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), 'disk.raw');
  await writeFile(path, bytes);
  return path;
}
