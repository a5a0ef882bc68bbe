import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';

/** QEMU's server, which shows a raw file, read-only, under a name, until the test ends or it is stopped. */
export async function qemuServes(
  file: string,
  name: string,
  socket: string,
): Promise<{ readonly stop: () => Promise<void> }> {
  const args = ['-r', '-t', '-e', '20', '-f', 'raw', '-x', name, '-k', socket, file];
  const child: ChildProcess = spawn('qemu-nbd', args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(child, 'exit');
  const stop = async () => {
    // One that has only just begun to listen forgets that it was told to end.
    child.kill('SIGKILL');
    await ended;
    rmSync(socket, { force: true });
  };
  onTestFinished(stop);
  while (!existsSync(socket)) {
    if (child.exitCode !== null) throw new Error(`qemu-nbd ended with ${child.exitCode}`);
    await sleep(5);
  }
  return { stop };
}
