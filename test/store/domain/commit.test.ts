import { copyFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commitVersion } from '../../../store/index.ts';
import { readVersion } from '../../../store/version/version.ts';
import { qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { SMALL } from '../new-store.ts';
import { give, Libvirt } from './libvirt.ts';
import { DomainPlace, MIB } from './place.ts';

let libvirt: Libvirt;
beforeAll(async () => {
  libvirt = await Libvirt.start();
});
afterAll(() => libvirt.stop());

/** What 4 KiB that were written cost at most: libvirt's bitmaps have 64 KiB a bit, and a cluster more is compared. */
const MOST_SMALL = 65536 + 2 * SMALL;

function virtioDisk(file: string, driver = ''): string {
  return `<disk type='file' device='disk'><driver name='qemu' type='qcow2' ${driver}/><source file='${file}'/><target dev='vda' bus='virtio'/></disk>`;
}

test('commitDomain reads all of a domain at first, and then what was written', async () => {
  const place = await DomainPlace.running(libvirt, 2);
  const first = await place.commitExactly();
  expect(first.notices).toEqual([]);
  expect(first.readBytes).toEqual([MIB, MIB]);
  for (const pattern of [1, 2, 3]) {
    await place.io(0, `write -P ${pattern} 2M 4k`);
    const { notices, readBytes } = await place.commitExactly();
    expect(notices).toEqual([]);
    expect(readBytes[0]).toBeLessThanOrEqual(MOST_SMALL);
    expect(readBytes[1]).toBe(0);
  }
  const { commit } = await place.commitExactly();
  const { disks } = readVersion(place.made.store.objects, commit);
  expect(disks.map(({ name }) => name)).toEqual(['vda', 'vdb']);
});

test('commitDomain stores discarded ranges as zeros, and keeps its checkpoint when nothing has changed', async () => {
  const place = await DomainPlace.running(libvirt);
  const { commit } = await place.commitExactly();
  expect(await place.commitExactly()).toMatchObject({ commit, unchanged: true, readBytes: [0] });
  await place.io(0, 'discard 0 512k');
  expect((await place.commitExactly()).unchanged).toBe(false);
});

test('commitDomain goes on after the domain was shut down and started again', async () => {
  const place = await DomainPlace.running(libvirt);
  await place.commitExactly();
  await place.io(0, 'write -P 1 2M 4k');
  await place.virsh('destroy');
  await place.start();
  await place.io(0, 'write -P 2 3M 4k');
  const { notices, readBytes } = await place.commitExactly();
  expect(notices).toEqual([]);
  expect(readBytes[0]).toBeLessThanOrEqual(2 * MOST_SMALL);
});

test('commitDomain reads all after QEMU was killed, and says why', async () => {
  const place = await DomainPlace.running(libvirt);
  await place.commitExactly();
  await place.kill();
  await qemuIo(place.images[0]!, 'write -P 9 2M 4k');
  await place.start();
  const { notices, readBytes } = await place.commitExactly();
  expect(notices).toEqual([
    expect.stringMatching(
      /^its checkpoint is of no use, so all of the disks is read: virsh backup-begin: .*bitmap/,
    ),
  ]);
  expect(readBytes[0]).toBeGreaterThanOrEqual(MIB);
  await place.io(0, 'write -P 1 3M 4k');
  const next = await place.commitExactly();
  expect(next.notices).toEqual([]);
  expect(next.readBytes[0]).toBeLessThanOrEqual(MOST_SMALL);
});

test('commitDomain reads all when its checkpoint was deleted, and makes a new one', async () => {
  const place = await DomainPlace.running(libvirt);
  await place.commitExactly();
  await place.virsh('checkpoint-delete', ...(await place.checkpoints()));
  await place.io(0, 'write -P 1 3M 4k');
  const { notices } = await place.commitExactly();
  expect(notices).toEqual(['disk vda: its checkpoint is not trusted, so all of it is read: it is gone']);
  expect((await place.commitExactly()).readBytes).toEqual([0]);
});

test('commitDomain reads all when the bitmap of its checkpoint was removed', async () => {
  const place = await DomainPlace.running(libvirt, 2);
  await place.commitExactly();
  const [name] = await place.checkpoints();
  const nodes = (await place.qmp('query-named-block-nodes', {})) as {
    'node-name': string;
    'dirty-bitmaps'?: unknown[];
  }[];
  const node = nodes.find((each) => each['dirty-bitmaps'] !== undefined)!['node-name'];
  await place.qmp('block-dirty-bitmap-remove', { node, name });
  await place.io(0, 'write -P 1 3M 4k');
  const { notices } = await place.commitExactly();
  expect(notices).toEqual([expect.stringMatching(/^its checkpoint is of no use/)]);
  expect((await place.commitExactly()).readBytes).toEqual([0, 0]);
});

test('commitDomain does not trust a checkpoint of which the store does not know the version', async () => {
  const place = await DomainPlace.running(libvirt);
  await place.commitExactly();
  const [name] = await place.checkpoints();
  const path = place.made.file('theirs.xml');
  // As one that a killed commit has left.
  const left = name!.replace(/[^-]+$/, '0123456789abcdef');
  writeFileSync(path, `<domaincheckpoint><name>${left}</name></domaincheckpoint>`);
  await place.virsh('checkpoint-create', path);
  const { readBytes, notices } = await place.commitExactly();
  expect([readBytes, notices]).toEqual([[0], []]);
});

test('commitDomain does not trust a checkpoint when the branch has gone on, or another file is in its place', async () => {
  const place = await DomainPlace.running(libvirt);
  await place.commitExactly();
  await commitVersion(place.made.store, {
    disks: [{ name: 'vda', path: place.images[0]! }],
    branch: place.name,
    forceShare: true,
    allowEmpty: true,
  });
  expect((await place.commitExactly()).notices).toEqual([
    expect.stringMatching(/the branch has gone on since$/),
  ]);
  await place.virsh('destroy');
  // A copy has the bitmap with it. It may be one of other bytes.
  const copy = `${place.images[0]}.copy`;
  copyFileSync(place.images[0]!, copy);
  give(copy);
  await place.define('', virtioDisk(copy));
  await place.start();
  expect((await place.commit()).notices).toEqual([
    expect.stringMatching(/it is of another store or another image/),
  ]);
});

test('commitDomain leaves checkpoints of others as they are, also of another store', async () => {
  const [place, other] = [await DomainPlace.running(libvirt), await DomainPlace.create(libvirt)];
  const path = place.made.file('theirs.xml');
  writeFileSync(path, '<domaincheckpoint><name>theirs</name></domaincheckpoint>');
  await place.virsh('checkpoint-create', path);
  await place.commitExactly();
  await other.commit({ domain: place.name });
  for (const pattern of [1, 2]) {
    await place.io(0, `write -P ${pattern} 3M 4k`);
    for (const { notices, readBytes } of [await place.commit(), await other.commit({ domain: place.name })]) {
      expect(notices).toEqual([]);
      expect(readBytes[0]).toBeLessThanOrEqual(MOST_SMALL);
    }
  }
  expect(await place.virsh('checkpoint-list', '--name')).toContain('theirs\n');
  expect(await place.checkpoints()).toHaveLength(2);
});

test('commitDomain finds that the disk was smaller for a while', async () => {
  const place = await DomainPlace.running(libvirt);
  await place.commitExactly();
  const nodes = (await place.qmp('query-named-block-nodes', {})) as { 'node-name': string; drv: string }[];
  const node = nodes.find(({ drv }) => drv === 'qcow2')!['node-name'];
  await place.qmp('block_resize', { 'node-name': node, size: MIB / 2 });
  await place.qmp('block_resize', { 'node-name': node, size: 4 * MIB });
  const { notices } = await place.commitExactly();
  expect(notices[0]).toMatch(/the disk was made smaller meanwhile$/);
});

test('commitDomain reads all of a raw disk each time, leaves out a CD-ROM, and says both', async () => {
  const place = await DomainPlace.create(libvirt);
  const [raw, cd] = [`${place.folder}/disk.raw`, `${place.folder}/cd.iso`];
  for (const path of [raw, cd]) {
    writeFileSync(path, Buffer.alloc(MIB, 5));
    give(path);
  }
  await place.define(
    `<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${raw}'/><target dev='sda' bus='sata'/></disk>
     <disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='${cd}'/><target dev='sdb' bus='sata'/></disk>
     <disk type='file' device='cdrom'><target dev='sdc' bus='sata'/></disk>`,
  );
  await place.start();
  const why = 'only a qcow2 of version 1.1 with its data in itself has bitmaps that are kept';
  for (const reads of [
    [MIB, MIB],
    [0, MIB],
  ]) {
    const { notices, readBytes, commit } = await place.commitExactly();
    expect(notices).toEqual([
      'disk sdb is left out: it is a CD-ROM',
      `disk sda: the next commit will read all of it: ${why}`,
    ]);
    expect(readBytes).toEqual(reads);
    expect((await place.stored(commit, 1)).every((byte) => byte === 5)).toBe(true);
  }
  const one = await place.commit({ nodes: [{ node: 'sda', name: 'data' }], branch: 'data' });
  expect(one.readBytes).toEqual([MIB]);
  await expect(place.commit({ nodes: [{ node: 'vdz' }] })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    message: `domain ${place.name}: has no disk 'vdz': its disks are vda, sda, sdb, sdc`,
  });
});

test('commitDomain keeps track of a qcow2 of version 1.1 beside one that has no bitmaps', async () => {
  const place = await DomainPlace.create(libvirt);
  const old = `${place.folder}/old.qcow2`;
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'compat=0.10', old, '4M');
  await qemuIo(old, 'write -P 7 0 1M');
  give(old);
  await place.define(
    `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${old}'/><target dev='vdb' bus='virtio'/></disk>`,
  );
  await place.start();
  for (const reads of [
    [MIB, MIB],
    [0, MIB],
  ])
    expect((await place.commitExactly()).readBytes).toEqual(reads);
});

test('commitDomain keeps track of an overlay as long as the files below it stay as they are', async () => {
  const place = await DomainPlace.create(libvirt);
  const top = `${place.folder}/top.qcow2`;
  await qemuImg('create', '-q', '-f', 'qcow2', '-b', place.images[0]!, '-F', 'qcow2', top);
  give(top);
  await place.define('', virtioDisk(top));
  await place.start();
  expect((await place.commit()).notices).toEqual([]);
  await place.io(0, 'write -P 1 2M 4k');
  const next = await place.commit();
  expect(next.notices).toEqual([]);
  expect(next.readBytes[0]).toBeLessThanOrEqual(MOST_SMALL);
  await place.virsh('destroy');
  await qemuIo(place.images[0]!, 'write -P 9 3M 4k');
  await place.start();
  const { notices, commit } = await place.commit();
  expect(notices[0]).toMatch(/the backing file has changed$/);
  expect((await place.stored(commit))[3 * MIB]).toBe(9);
});

test('commitDomain attaches the XML of the domain, which makes no version by itself, unless one is given', async () => {
  const place = await DomainPlace.running(libvirt);
  const { commit } = await place.commitExactly();
  const { files } = readVersion(place.made.store.objects, commit);
  expect(files.map(({ name }) => name)).toEqual(['domain.xml']);
  await place.virsh('destroy');
  await place.start();
  expect(await place.commitExactly()).toMatchObject({ commit, unchanged: true });
  await place.virsh('setmem', '16M', '--config');
  expect(await place.commitExactly()).toMatchObject({ unchanged: false, readBytes: [0] });
  const mine = place.made.file('mine');
  writeFileSync(mine, 'mine');
  const given = await place.commit({ attachments: [{ name: 'domain.xml', path: mine }] });
  expect(readVersion(place.made.store.objects, given.commit).files).toHaveLength(1);
});

test('commitDomain throws USAGE with the command for the files of a domain that is shut off, NOT_FOUND for one that is not', async () => {
  const place = await DomainPlace.create(libvirt, 2);
  await place.define();
  const [a, b] = place.images;
  await expect(place.commit()).rejects.toMatchObject({
    code: 'USAGE',
    message: `domain ${place.name} is shut off: store its disks by: imgstore commit --disk vda=${a} --disk vdb=${b} -b ${place.name}`,
  });
  await expect(place.commit({ domain: 'nowhere' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(place.commit({ connect: 'qemu+unix:///session?socket=/nowhere' })).rejects.toMatchObject({
    code: 'LIBVIRT',
    message: expect.stringMatching(/^virsh dumpxml: failed to connect to the hypervisor: [^\n]*$/),
  });
});

test('commitDomain throws BUSY while another program makes a backup, and leaves that as it is', async () => {
  const place = await DomainPlace.running(libvirt);
  const path = place.made.file('theirs.xml');
  const socket = `${place.folder}/theirs`;
  writeFileSync(
    path,
    `<domainbackup mode='pull'><server transport='unix' socket='${socket}'/><disks><disk name='vda' backup='yes' type='file'><scratch file='${place.folder}/theirs.qcow2'/></disk></disks></domainbackup>`,
  );
  await place.virsh('backup-begin', path);
  await expect(place.commit()).rejects.toMatchObject({
    code: 'BUSY',
    message: `domain ${place.name}: another program makes a backup of it: wait for its end, or run virsh domjobabort ${place.name}`,
  });
  expect(await place.virsh('backup-dumpxml')).toContain(socket);
  await place.virsh('domjobabort');
  expect(await place.checkpoints()).toEqual([]);
});

test('commitDomain refuses disks with an iothread where QEMU would crash', async () => {
  const place = await DomainPlace.create(libvirt);
  await place.define('', virtioDisk(place.images[0]!, "iothread='1'"), '<iothreads>1</iothreads>');
  await place.start();
  const [, major, minor] = /QEMU (\d+)\.(\d+)\S*\n*$/.exec((await libvirt.virsh('version')).trim())!;
  if (Number(major) * 100 + Number(minor) >= 802) return void (await place.commitExactly());
  await expect(place.commit()).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await place.expectClean();
});
