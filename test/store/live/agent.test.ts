import { mkdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ownerSuffix } from '../../../files/index.ts';
import { type Answer, END, type FakeCommand, fakeMonitor, SILENCE } from '../../nbd/qmp/fake-monitor.ts';
import { qemuImg } from '../../qcow2/qemu.ts';
import { LivePlace } from './place.ts';
import { startProxy } from './proxy.ts';

const FREEZE = 'guest-fsfreeze-freeze';
const THAW = 'guest-fsfreeze-thaw';

/** A guest agent, and what it has been told to do. */
async function agentThat(freeze: Answer = '{"return": 1}\n') {
  const heard: string[] = [];
  const path = await fakeMonitor(SILENCE, ({ execute, arguments: given }: FakeCommand) => {
    if (execute === 'guest-sync-delimited') return `${JSON.stringify({ return: given?.id })}\n`;
    heard.push(execute);
    return execute === FREEZE ? freeze : '{"return": 1}\n';
  });
  return { path, heard };
}

test('commitMachine freezes the guest around the moment at which disks are held, and nothing else', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  const { path, heard } = await agentThat();
  const during: string[] = [];
  const proxyPath = place.made.file('proxy');
  await startProxy(proxyPath, machine.qmp, 'transaction', 'before', async () => void during.push(...heard));
  await place.commit({ qmp: proxyPath }, { agent: path });
  expect(during.slice(0, 1)).toEqual([FREEZE]);
  expect(heard).toEqual([FREEZE, THAW]);
});

test.each<[string, Answer]>([
  ['refuses to freeze', '{"error": {"class": "GenericError", "desc": "no"}}\n'],
  ['breaks off when it freezes', END],
])('commitMachine stores nothing when the agent %s, and thaws', async (_, freeze) => {
  const place = await LivePlace.create();
  const machine = await place.start();
  const { path, heard } = await agentThat(freeze);
  await expect(place.commit(machine, { agent: path })).rejects.toMatchObject({ code: 'QMP' });
  expect(heard).toEqual([FREEZE, THAW]);
  await machine.expectClean();
  expect(await machine.bitmaps()).toEqual([]);
});

test('commitMachine thaws the guest when the commit before was killed', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  const { path, heard } = await agentThat();
  const folder = place.made.file(`.imgstore-live${ownerSuffix('0').replace(/-\d+-\d+_/, '-999999999-1_')}`);
  mkdirSync(folder);
  const filename = `${folder}/vda.qcow2`;
  await qemuImg('create', '-q', '-f', 'qcow2', filename, '4M');
  const file = { driver: 'file', 'node-name': 'imgstore-live-0-file', filename };
  await machine.client.execute('blockdev-add', { driver: 'qcow2', 'node-name': 'imgstore-live-0', file });
  await place.commit(machine, { agent: path });
  expect(heard).toEqual([THAW, FREEZE, THAW]);
  await machine.expectClean();
  expect(place.scratch()).toEqual([]);
});

test('commitMachine throws BUSY while another process commits the machine', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  const proxyPath = place.made.file('proxy');
  let second: unknown;
  // The second comes by a monitor of its own.
  await startProxy(proxyPath, machine.qmp, 'nbd-server-start', 'before', async () => {
    second = await place.commit({ qmp: machine.second }).catch((error: unknown) => error);
  });
  await place.commit({ qmp: proxyPath });
  expect(second).toMatchObject({
    code: 'BUSY',
    message: expect.stringMatching(/another imgstore commits this machine: wait for its end$/),
  });
  await machine.expectClean();
  expect((await place.commitExactly(machine)).notices).toEqual([]);
});

test('commitMachine thaws the guest when QEMU refuses to hold its disks', async () => {
  const place = await LivePlace.create();
  const machine = await place.start();
  const { path, heard } = await agentThat();
  await machine.client.execute('blockdev-add', {
    driver: 'null-co',
    'node-name': 'null',
    size: 4 * 2 ** 20,
    'read-zeroes': true,
  });
  const nodes = (await machine.client.execute('query-block')) as { inserted: { 'node-name': string } }[];
  await machine.client.execute('blockdev-mirror', {
    'job-id': 'theirs',
    device: nodes[0]!.inserted['node-name'],
    target: 'null',
    sync: 'full',
  });
  await expect(place.commit(machine, { agent: path })).rejects.toMatchObject({ code: 'QMP' });
  expect(heard).toEqual([FREEZE, THAW]);
});
