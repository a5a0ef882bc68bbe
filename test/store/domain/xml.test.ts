import { expect, test } from 'vitest';
import { backupXml, checkpointXml } from '../../../store/domain/backup-xml.ts';
import { chooseDisks } from '../../../store/domain/choose-disks.ts';
import { type DomainDisk, parseDomain } from '../../../store/domain/domain.ts';
import type { HeldDisk } from '../../../store/domain/held-disk.ts';
import { parseXml } from '../../../store/domain/xml.ts';

async function domainWith(devices: string) {
  const text = `<domain type='kvm' id='3'><name>a&amp;b</name><uuid>u</uuid><devices>${devices}</devices></domain>`;
  return parseDomain(await parseXml(text, 'domain', 'x'));
}

function disk(content: string, attributes = "type='file' device='disk'", target = 'vda'): string {
  return `<disk ${attributes}>${content}<target dev='${target}' bus='virtio'/></disk>`;
}

test('parseDomain takes paths as they are, and the files below an image', async () => {
  const chain = `<driver name='qemu' type='qcow2'/><source file=' /a &amp; b&#39;s.qcow2' index='1'/>
    <backingStore type='file' index='2'><format type='qcow2'/><source file='/mid'/>
      <backingStore type='network'><source protocol='nbd'/><backingStore/></backingStore></backingStore>`;
  const { name, isRunning, hasAgent, disks } = await domainWith(disk(chain));
  expect([name, isRunning, hasAgent]).toEqual(['a&b', true, false]);
  expect(disks).toEqual([
    {
      target: 'vda',
      leftOut: undefined,
      isEmpty: false,
      format: 'qcow2',
      path: " /a & b's.qcow2",
      backing: ['/mid', ''],
      hasThread: false,
    },
  ]);
});

test('parseDomain finds threads of disks and of their controller', async () => {
  const controller = `<controller type='scsi' model='virtio-scsi'><driver iothread='1'/></controller>`;
  const scsi = disk("<source file='/b'/>", undefined, 'sda').replace('virtio', 'scsi');
  const own = disk("<driver iothread='2'/><source file='/c'/>", undefined, 'vdb');
  const many = disk(
    "<driver><iothreads><iothread id='1'/></iothreads></driver><source file='/d'/>",
    undefined,
    'vdc',
  );
  const { disks } = await domainWith(controller + scsi + own + many + disk("<source file='/a'/>"));
  expect(disks.map(({ hasThread }) => hasThread)).toEqual([true, true, true, false]);
});

test('chooseDisks takes what the guest can write to, and says what it leaves out', async () => {
  const source = "<source file='/f'/>";
  const domain = await domainWith(
    [
      disk(source),
      disk(`${source}<readonly/>`, undefined, 'vdb'),
      disk(`${source}<transient/>`, undefined, 'vdc'),
      disk(source, "type='file' device='cdrom'", 'sda'),
      disk('', "type='file' device='cdrom'", 'sdb'),
      disk("<source dev='/dev/x'/>", "type='block' device='lun'", 'sdc'),
      disk("<source type='unix'/>", "type='vhostuser' device='disk'", 'vdd'),
      disk("<source protocol='rbd' name='pool/x'/>", "type='network' device='disk'", 'vde'),
      disk("<source dev='/dev/y'/>", "type='block' device='disk'", 'vdf'),
    ].join(''),
  );
  const notices: string[] = [];
  const chosen = chooseDisks(domain, [], (notice) => notices.push(notice));
  expect(chosen.map(({ name, disk: { path } }) => [name, path])).toEqual([
    ['vda', '/f'],
    ['vde', undefined],
    ['vdf', '/dev/y'],
  ]);
  expect(notices.map((notice) => notice.slice(5, 8))).toEqual(['vdb', 'vdc', 'sda', 'sdc', 'vdd']);
  expect(() => chooseDisks({ ...domain, disks: [] }, [], () => {})).toThrow(
    /has no disks that a guest can write to/,
  );
});

test.each([
  '',
  'nonsense',
  '<domain',
  '<other/>',
  '<domain></other>',
  '\0',
  '<!DOCTYPE a [<!ENTITY b "c">]>',
])('parseXml throws LIBVIRT in one line for %j', async (text) => {
  await expect(parseXml(text, 'domain', 'domain x')).rejects.toMatchObject({
    code: 'LIBVIRT',
    message: expect.stringMatching(/^domain x: is not XML as libvirt writes it: [^\n]+$/),
  });
});

test('backupXml and checkpointXml name every disk, and escape what they hold', async () => {
  const all = ['vda', 'vdb', 'sda'].map((target) => ({ target }) as DomainDisk);
  const held = [
    { name: 'x', disk: all[0], image: { untracked: undefined }, since: { checkpoint: 'imgstore-1' } },
    { name: 'y', disk: all[1], image: { untracked: 'raw' }, since: undefined },
  ] as unknown as HeldDisk[];
  const place = { socket: "/tmp/<'s>", folder: '/a&b', attempt: 1 };
  expect(await backupXml(held, all, place)).toBe(
    '<domainbackup mode="pull"><server transport="unix" socket="/tmp/&lt;&apos;s&gt;"/><disks>' +
      '<disk name="vda" backup="yes" type="file" backupmode="incremental" incremental="imgstore-1" exportbitmap="backup-vda" exportname="vda"><scratch file="/a&amp;b/vda-1.qcow2"/></disk>' +
      '<disk name="vdb" backup="yes" type="file" backupmode="full" exportname="vdb"><scratch file="/a&amp;b/vdb-1.qcow2"/></disk>' +
      '<disk name="sda" backup="no"/></disks></domainbackup>',
  );
  expect(await checkpointXml('c', 'branch <x>', held, all)).toBe(
    '<domaincheckpoint><name>c</name><description>branch &lt;x&gt;</description><disks>' +
      '<disk name="vda" checkpoint="bitmap"/><disk name="vdb" checkpoint="no"/><disk name="sda" checkpoint="no"/></disks></domaincheckpoint>',
  );
});
