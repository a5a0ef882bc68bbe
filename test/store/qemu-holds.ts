import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';

/** QEMU with an image open until the test ends; its prompt comes when it has taken its locks. */
export async function qemuHolds(image: string, ...args: readonly string[]): Promise<void> {
  const child = spawn('qemu-io', [...args, image], { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(async () => {
    const ended = once(child, 'exit');
    child.stdin.end('quit\n');
    await ended;
  });
  await once(child.stdout, 'data');
}
