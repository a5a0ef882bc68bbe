import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { NbdServer } from '../../../nbd/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { listenElsewhere } from './listener.ts';
import { MemoryDisk, only, patterned, serve } from './memory-disk.ts';
import { RawClient } from './raw-client.ts';

const exports = only(new MemoryDisk(patterned(4096)));

test('NbdServer.listen makes a socket that only its owner can connect to, and NbdServer.close removes it', async () => {
  const before = process.umask();
  const { socket, server } = await serve(exports);
  expect(((await stat(socket)).mode & 0o077).toString(8)).toBe('0');
  expect(process.umask()).toBe(before);
  expect(server.address).toEqual({ path: socket });
  await server.close();
  await server.close();
  await expect(stat(socket)).rejects.toMatchObject({ code: 'ENOENT' });
});

test('NbdServer.listen replaces the socket of a server that was killed', async () => {
  const socket = join(await temporaryFolder(), 's');
  const kill = await listenElsewhere(socket);
  await expect(NbdServer.listen(exports, { socket })).rejects.toMatchObject({
    code: 'IN_USE',
    message: `${socket}: a server listens there: stop it, or choose another name`,
  });
  await kill();
  expect((await stat(socket)).isSocket()).toBe(true);
  const server = await NbdServer.listen(exports, { socket });
  onTestFinished(() => server.close());
  await new RawClient(socket).enter();
});

test('NbdServer.listen refuses the socket of a server that lives, files, and folders that are not there', async () => {
  const { socket } = await serve(exports);
  await expect(NbdServer.listen(exports, { socket })).rejects.toMatchObject({ code: 'IN_USE' });
  await new RawClient(socket).enter();
  const folder = await temporaryFolder();
  const file = join(folder, 'file');
  await writeFile(file, 'precious');
  await expect(NbdServer.listen(exports, { socket: file })).rejects.toMatchObject({ code: 'EXISTS' });
  expect((await stat(file)).size).toBe(8);
  await expect(NbdServer.listen(exports, { socket: join(folder, 'none', 's') })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `${join(folder, 'none')}: no such file or folder`,
  });
  await expect(NbdServer.listen(exports, { socket: join(folder, 'x'.repeat(120)) })).rejects.toMatchObject({
    code: 'USAGE',
  });
});

test('NbdServer.listen serves on a port of this machine alone, and says which', async () => {
  const server = await NbdServer.listen(exports, { port: 0 });
  onTestFinished(() => server.close());
  const { host, port } = server.address as { host: string; port: number };
  expect(host).toBe('127.0.0.1');
  const client = await new RawClient(port).enter();
  expect(await client.errorOf(0, 0, 512)).toBe(0);
  await expect(NbdServer.listen(exports, { port })).rejects.toMatchObject({ code: 'IN_USE' });
});

test('NbdServer turns clients away that are too many, and takes others when some have gone', async () => {
  const { socket, server, notices } = await serve(exports, { maxConnections: 2 });
  const [first] = [await new RawClient(socket).enter(), await new RawClient(socket).enter()];
  expect(await new RawClient(socket).readToEnd()).toHaveLength(0);
  expect(server.connections).toBe(2);
  expect(notices).toEqual(['a client was turned away: too many connections']);
  first.socket.destroy();
  await expect.poll(() => server.connections).toBe(1);
  await new RawClient(socket).enter();
});
