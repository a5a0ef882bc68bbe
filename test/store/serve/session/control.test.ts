import { once } from 'node:events';
import { statSync } from 'node:fs';
import { connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import {
  commitSessionOf,
  discardSession,
  listSessions,
  type SessionsPlace,
} from '../../../../store/index.ts';
import { askServer } from '../../../../store/serve/session/control/ask-server.ts';
import { serveControl } from '../../../../store/serve/session/control/serve-control.ts';
import { diskOf } from '../../disks.ts';
import { SMALL } from '../../new-store.ts';
import { type SessionPlace, sessionPlace } from './places.ts';

const DISK = diskOf([1, 2, 0, 4]);

async function controlled(): Promise<
  SessionPlace & { readonly at: SessionsPlace; readonly path: string; readonly stopped: Promise<void> }
> {
  const place = await sessionPlace(DISK);
  const socket = place.file('nbd.sock');
  const path = `${socket}.control`;
  const control = await serveControl({ connections: 3 }, place.sessions, path);
  onTestFinished(() => control.close());
  return { ...place, at: { socket }, path, stopped: control.stopped };
}

/** Sends text and returns all lines that come back until the server, or this, has ended. */
async function talk(path: string, text: string | Buffer, lines: number): Promise<unknown[]> {
  const socket = connect(path);
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(text);
  let received = '';
  for await (const chunk of socket) {
    received += chunk;
    if (received.split('\n').length > lines) break;
  }
  socket.destroy();
  return received
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

test('serveControl lists, commits and discards sessions, for the owner only', async () => {
  const { sessions, store, at, path } = await controlled();
  expect(statSync(path).mode & 0o777).toBe(0o700);
  const web = (await sessions.export('web'))!;
  await web.write!(0, Buffer.alloc(SMALL + 1, 9));
  const { server, sessions: listed } = await listSessions(store, at);
  expect(server).toBe(process.pid);
  expect(listed).toMatchObject([
    { name: 'web', branch: 'web', disk: 'vda', changedBytes: 2 * SMALL, connections: 1 },
  ]);
  const made = await commitSessionOf(store, at, { name: 'web', message: 'From afar' });
  expect(made).toMatchObject({ branch: 'web', readBytes: 2 * SMALL, unchanged: false });
  expect((await listSessions(store, at)).sessions).toMatchObject([{ changedBytes: 0, last: made.commit }]);
  await expect(discardSession(store, at, { name: 'web' })).rejects.toMatchObject({
    code: 'IN_USE',
    data: { name: 'web', connections: 1 },
  });
  await web.release();
  await discardSession(store, at, { name: 'web' });
  expect((await listSessions(store, at)).sessions).toEqual([]);
  await expect(commitSessionOf(store, at, { name: 'web' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

test('serveControl says when it is to stop, and answers first', async () => {
  const { path, stopped } = await controlled();
  expect(await askServer(path, { command: 'stop' })).toEqual({ result: undefined });
  await stopped;
});

test('askServer finds nobody where no server listens', async () => {
  const place = await sessionPlace(DISK);
  expect(await askServer(place.file('no.sock'), { command: 'list' })).toBeUndefined();
});

test('listSessions, commitSessionOf and discardSession go to the overlay when no server runs', async () => {
  const place = await sessionPlace(DISK);
  const at = { socket: place.file('no.sock') };
  const web = (await place.sessions.export('web'))!;
  await web.write!(0, Buffer.alloc(1, 9));
  await expect(commitSessionOf(place.store, at, { name: 'web' })).rejects.toMatchObject({ code: 'IN_USE' });
  await expect(discardSession(place.store, at, { name: 'web' })).rejects.toMatchObject({ code: 'IN_USE' });
  await web.release();
  await place.sessions.close();
  const state = { name: 'web', branch: 'web', changedBytes: undefined, connections: undefined };
  const listed = await listSessions(place.store, at);
  expect(listed).toMatchObject({ server: undefined, sessions: [state] });
  expect(await commitSessionOf(place.store, at, { name: 'web' })).toMatchObject({ readBytes: SMALL });
  await discardSession(place.store, at, { name: 'web' });
  expect((await listSessions(place.store, at)).sessions).toEqual([]);
});

test.each([
  ['no JSON', 'hello\n', 'USAGE', 'a line is not JSON'],
  ['no object', '[1]\n', 'USAGE', 'a line is no object'],
  ['an empty line', '\n', 'USAGE', 'a line is not JSON'],
  ['another version', '{"version":2,"command":"list"}\n', 'UNSUPPORTED', 'version 1, not 2'],
  ['no command', '{"version":1}\n', 'USAGE', 'there is no command null'],
  ['a command of Object', '{"version":1,"command":"toString"}\n', 'USAGE', 'there is no command'],
  ['no name', '{"version":1,"command":"commit"}\n', 'USAGE', 'name is missing'],
  ['a name that is no text', '{"version":1,"command":"commit","name":7}\n', 'USAGE', 'name is no text'],
  [
    'a name that leads elsewhere',
    '{"version":1,"command":"discard","name":"../../x"}\n',
    'NOT_FOUND',
    'no session',
  ],
  [
    'a branch that can be none',
    '{"version":1,"command":"commit","name":"web","branch":"a b"}\n',
    'BAD_NAME',
    "'a b'",
  ],
])('serveControl answers %s in one line, and then others', async (_, line, code, message) => {
  const { path, sessions } = await controlled();
  const web = (await sessions.export('web'))!;
  await web.write!(0, Buffer.alloc(1, 9));
  await web.release();
  const [answer, next] = await talk(path, `${line}{"version":1,"command":"list"}\n`, 2);
  expect(answer).toMatchObject({
    version: 1,
    ok: false,
    error: { code, message: expect.stringContaining(message) },
  });
  expect((answer as { error: { message: string } }).error.message).not.toContain('\n');
  expect(next).toMatchObject({ ok: true, result: { connections: 3, sessions: [{ name: 'web' }] } });
});

test('serveControl closes the connection of a client whose line has no end, and answers others', async () => {
  const { path } = await controlled();
  const [answer] = await talk(path, Buffer.alloc(2 ** 20 + 1, 'x'), 1);
  expect(answer).toMatchObject({ ok: false, error: { code: 'USAGE' } });
  // One that goes away within a line, and one that does so before its answer.
  for (const text of ['{"version":1,"comm', '{"version":1,"command":"list"}\n']) {
    const socket = connect(path);
    socket.write(text);
    await once(socket, 'connect');
    socket.destroy();
  }
  expect(await askServer(path, { command: 'list' })).toMatchObject({ result: { sessions: [] } });
});
