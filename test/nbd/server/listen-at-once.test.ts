import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { NbdServer } from '../../../nbd/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { listenElsewhere } from './listener.ts';
import { MemoryDisk, only, patterned } from './memory-disk.ts';
import { RawClient } from './raw-client.ts';

const delays: number[] = [];

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const unlink = async (path: string) => {
    await sleep(delays.shift() ?? 0);
    await real.unlink(path);
  };
  return { ...real, unlink };
});

test('NbdServer.listen lets one have the socket that a dead server left, of several that come at once', async () => {
  const folder = await temporaryFolder();
  const socket = join(folder, 's');
  const kill = await listenElsewhere(socket);
  await kill();
  const exports = only(new MemoryDisk(patterned(4096)));
  // The first to see that the server is dead is late to remove its socket.
  delays.push(100);
  const attempts = await Promise.allSettled([1, 2, 3].map(() => NbdServer.listen(exports, { socket })));
  const servers = attempts.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  onTestFinished(async () => {
    for (const server of servers) await server.close();
  });
  const refusals = attempts.flatMap((each) => (each.status === 'rejected' ? [each.reason.code] : []));
  expect([servers.length, refusals]).toEqual([1, ['IN_USE', 'IN_USE']]);
  await new RawClient(socket).enter();
  expect(await readdir(folder)).toEqual(['s']);
});
