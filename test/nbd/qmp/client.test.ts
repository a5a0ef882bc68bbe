import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { isRefusal, QmpClient, type QmpEvent } from '../../../nbd/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import {
  type Answer,
  END,
  type FakeCommand,
  fakeMonitor,
  GREETING,
  refusal,
  reply,
  SILENCE,
} from './fake-monitor.ts';

const QUICK = { label: 'vm', greetingSeconds: 0.2, commandSeconds: 0.2 };

const connect = async (path: string): Promise<QmpClient> => {
  const client = await QmpClient.connect({ path }, QUICK);
  onTestFinished(() => client.close());
  return client;
};

/** A monitor that does all properly but one command. */
const monitorThat = (answer: (command: FakeCommand) => Answer) =>
  fakeMonitor(GREETING, (command) => (command.execute === 'ask' ? answer(command) : reply(command, {})));

test('execute returns what the command returns, with its arguments and in any order', async () => {
  const held: string[] = [];
  const path = await fakeMonitor(GREETING, (command) => {
    if (command.execute === 'first') {
      held.push(reply(command, 1));
      return SILENCE;
    }
    return `${reply(command, command.arguments ?? {})}${held.join('')}`;
  });
  const client = await connect(path);
  const first = client.execute('first');
  expect(await client.execute('second', { a: 1 })).toEqual({ a: 1 });
  expect(await first).toBe(1);
});

test('execute throws QMP with the class and the reason of a refusal, and goes on', async () => {
  const client = await connect(
    await monitorThat((command) => refusal(command, "Node 'x'\nnot\u0007 found", 'DeviceNotFound')),
  );
  const error: unknown = await client.execute('ask').catch((reason: unknown) => reason);
  expect(error).toMatchObject({
    code: 'QMP',
    message: "vm: QEMU refuses ask: Node 'x' not found",
    data: { command: 'ask', class: 'DeviceNotFound' },
  });
  expect([isRefusal(error), isRefusal(error, 'DeviceNotFound'), isRefusal(error, 'CommandNotFound')]).toEqual(
    [true, true, false],
  );
  expect(await client.execute('other')).toEqual({});
});

test('onEvent hears events, also between a command and its reply, until it is ended', async () => {
  const event = '{"event": "JOB_STATUS_CHANGE", "data": {"id": "x"}, "timestamp": {}}\n';
  const client = await connect(await monitorThat((command) => `${event}${reply(command, 1)}`));
  const heard: QmpEvent[] = [];
  const end = client.onEvent((each) => heard.push(each));
  await client.execute('ask');
  end();
  await client.execute('ask');
  expect(heard).toEqual([{ name: 'JOB_STATUS_CHANGE', data: { id: 'x' } }]);
});

test.each<[string, Answer, RegExp]>([
  ['says nothing', SILENCE, /has said nothing for 0\.2 s: another program may be connected/],
  ['closes', END, /the connection was closed by the other side/],
  ['greets as another service', 'SSH-2.0-OpenSSH\r\n', /it sends what is no JSON object: is it a QMP socket/],
  ['greets with another object', '{"hello": 1}\n', /does not greet as a QMP monitor does/],
  ['greets with a list', '[1]\n', /no JSON object/],
  ['greets with bytes', Buffer.from([0xc0, 0x80, 10]), /no JSON object/],
])('connect throws QMP when the other side %s', async (_, greeting, message) => {
  const path = await fakeMonitor(greeting, () => SILENCE);
  await expect(QmpClient.connect({ path }, QUICK)).rejects.toMatchObject({ code: 'QMP', message });
});

test.each<[string, (command: FakeCommand) => Answer, RegExp]>([
  ['says nothing', () => SILENCE, /it has not answered ask for 0\.2 s/],
  ['closes', () => END, /the connection was closed by the other side/],
  ['closes within a line', () => '{"return": ', /it has not answered/],
  ['answers what was not asked', () => '{"return": 1, "id": "imgstore-99"}\n', /answers what was not asked/],
  ['answers without an id', () => '{"return": 1}\n', /answers what was not asked/],
  ['answers with nothing', ({ id }) => `{"id": "${id}"}\n`, /neither a result nor an error/],
  ['sends garbage', () => '}{\n', /no JSON object/],
  ['answers twice', (command) => `${reply(command, 1)}${reply(command, 1)}`, /answers what was not asked/],
])(
  'execute throws QMP when the other side %s, and so does every later command',
  async (_, answer, message) => {
    const client = await connect(await monitorThat(answer));
    const outcome = await Promise.all([client.execute('ask'), client.execute('ask')]).catch(
      (error: unknown) => error,
    );
    expect(outcome).toMatchObject({ code: 'QMP', message });
    await expect(client.execute('other')).rejects.toMatchObject({ code: 'QMP' });
    expect(client.ended).toBeDefined();
  },
);

test('execute throws QMP for a line without end, and holds no more of it than its limit', async () => {
  const path = join(await temporaryFolder(), 's');
  let sent = 0;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write(GREETING);
    const piece = Buffer.alloc(2 ** 20, 0x20);
    const more = () => {
      while (!socket.destroyed && socket.write(piece)) sent += piece.length;
    };
    socket.on('drain', more);
    socket.once('data', more);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => {
    server.close();
  });
  const options = { label: 'vm', commandSeconds: 60, greetingSeconds: 60 };
  await expect(QmpClient.connect({ path }, options)).rejects.toMatchObject({
    code: 'QMP',
    message: /sends more than 33554432 bytes in one line/,
  });
  expect(sent).toBeLessThan(80 * 2 ** 20);
});

test('connect throws QMP for what is no socket and for none', async () => {
  const file = join(await temporaryFolder(), 'file');
  await writeFile(file, '');
  await expect(QmpClient.connect({ path: file }, QUICK)).rejects.toMatchObject({
    code: 'QMP',
    message: /nobody listens|no socket/,
  });
  await expect(QmpClient.connect({ path: `${file}x` }, QUICK)).rejects.toMatchObject({
    code: 'QMP',
    message: /no such socket/,
  });
  await expect(QmpClient.connect({ host: '127.0.0.1', port: 1 }, QUICK)).rejects.toMatchObject({
    code: 'QMP',
    message: /nobody listens/,
  });
});
