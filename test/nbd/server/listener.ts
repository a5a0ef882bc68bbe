import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../../block/temporary-folder.ts';

/** Has another process listen on a socket. Returns how to kill it, which leaves the socket there. */
export async function listenElsewhere(socket: string): Promise<() => Promise<void>> {
  const script = join(await temporaryFolder(), 'listen.cjs');
  await writeFile(
    script,
    `require('net').createServer().listen(${JSON.stringify(socket)}, () => process.send(1))`,
  );
  const child = fork(script);
  await once(child, 'message');
  return async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
}
