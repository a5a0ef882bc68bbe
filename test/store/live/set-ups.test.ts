import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { commitMachine } from '../../../store/index.ts';
import { readVersion } from '../../../store/version/version.ts';
import { qemuBytes, qemuImg } from '../../qcow2/qemu.ts';
import { SMALL } from '../new-store.ts';
import { LivePlace } from './place.ts';

/** Nodes and a device as libvirt makes them. */
const blockdev = (image: string, more: Record<string, unknown> = {}): string[] => [
  '-blockdev',
  JSON.stringify({ driver: 'file', 'node-name': 'storage', filename: image }),
  '-blockdev',
  JSON.stringify({ driver: 'qcow2', 'node-name': 'format', file: 'storage', ...more }),
  '-device',
  'virtio-blk-pci,drive=format,id=disk0',
];

test.each(['format', 'disk0', '/machine/peripheral/disk0/virtio-backend'])(
  'commitMachine takes a disk of -blockdev by the name %s',
  async (node) => {
    const place = await LivePlace.create();
    const machine = await place.start({ drives: [], more: blockdev(place.images[0]!) });
    const nodes = [{ node, name: 'data' }];
    const first = await place.commit(machine, { nodes });
    expect(readVersion(place.made.store.objects, first.commit).disks.map(({ name }) => name)).toEqual([
      'data',
    ]);
    await machine.client.execute('human-monitor-command', {
      'command-line': 'qemu-io -d /machine/peripheral/disk0/virtio-backend "write -P 3 2M 4k"',
    });
    const next = await place.commit(machine, { nodes });
    expect(next.notices).toEqual([]);
    expect(next.readBytes[0]).toBeLessThanOrEqual(2 * SMALL);
    expect((await place.stored(next.commit))[2 ** 21]).toBe(3);
    await machine.expectClean();
  },
);

test('commitMachine passes over what is no disk: firmware, CD drives and what is read-only', async () => {
  const place = await LivePlace.create();
  const [flash, disc, fixed] = ['flash', 'disc', 'fixed'].map((name) => place.made.file(`${name}.raw`));
  for (const file of [flash!, disc!, fixed!]) await qemuImg('create', '-q', '-f', 'raw', file, '1M');
  const machine = await place.start({
    drives: [
      `file=${flash},if=pflash,format=raw`,
      `file=${place.images[0]},if=virtio,format=qcow2`,
      `file=${disc},if=ide,media=cdrom,format=raw`,
      `file=${fixed},if=virtio,format=raw,readonly=on`,
    ],
  });
  const { commit } = await place.commit(machine);
  expect(readVersion(place.made.store.objects, commit).disks).toMatchObject([
    { name: 'vda', virtualSize: 2 ** 22 },
  ]);
});

test('commitMachine throws USAGE for a machine without disks', async () => {
  const place = await LivePlace.create();
  const machine = await place.start({ drives: [] });
  await expect(place.commit(machine)).rejects.toMatchObject({ code: 'USAGE' });
});

test('commitMachine keeps no track of a disk that stands on another backing file than its header names', async () => {
  const place = await LivePlace.create(['named', 'other']);
  const overlay = place.made.file('top.qcow2');
  await qemuImg('create', '-q', '-f', 'qcow2', '-b', place.images[0]!, '-F', 'qcow2', overlay);
  const backing = { driver: 'qcow2', file: { driver: 'file', filename: place.images[1]! } };
  const machine = await place.start({ drives: [], more: blockdev(overlay, { backing }) });
  const { notices } = await place.commit(machine);
  expect(notices).toEqual([
    'disk vda: the next commit will read all of it: the machine has it on another backing file than its header names',
  ]);
});

test('commitMachine stores nodes of a qemu-storage-daemon, which must be named', async () => {
  const place = await LivePlace.create();
  const [image] = place.images;
  const qmp = place.made.file('qsd');
  const child = spawn('qemu-storage-daemon', [
    ...['--blockdev', `driver=file,node-name=storage,filename=${image}`],
    ...['--blockdev', 'driver=qcow2,node-name=format,file=storage'],
    ...['--chardev', `socket,id=c,path=${qmp},server=on,wait=off`, '--monitor', 'chardev=c'],
  ]);
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  while (!existsSync(qmp)) await sleep(10);
  await expect(commitMachine(place.made.store, { qmp })).rejects.toMatchObject({ code: 'USAGE' });
  for (const unchanged of [false, true]) {
    const outcome = await place.commit({ qmp }, { nodes: [{ node: 'format' }] });
    expect(outcome).toMatchObject({ unchanged, notices: [] });
    expect((await place.stored(outcome.commit)).equals(await qemuBytes(await copyOf(image!)))).toBe(true);
  }
});

async function copyOf(image: string): Promise<string> {
  await qemuImg('convert', '-U', '-O', 'qcow2', image, `${image}.copy`);
  return `${image}.copy`;
}
