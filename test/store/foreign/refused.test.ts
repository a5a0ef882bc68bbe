import { copyFile, mkdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { commitVersion, type OpenDiskOptions } from '../../../store/index.ts';
import { qemuImg } from '../../qcow2/qemu.ts';
import { newStore, type TestStore } from '../new-store.ts';

interface Place extends TestStore {
  readonly commit: (name: string, options?: OpenDiskOptions) => ReturnType<typeof commitVersion>;
}

async function place(): Promise<Place> {
  const made = await newStore();
  const commit = (name: string, options: Omit<OpenDiskOptions, 'bitmap'> = {}) =>
    commitVersion(made.store, { disks: [{ name: 'vda', path: made.file(name) }], branch: 'web', ...options });
  return { ...made, commit };
}

/** An image of 1 MiB, changed by `change`. */
async function crafted(
  format: string,
  name: string,
  change: (bytes: Buffer) => void,
  ...options: readonly string[]
): Promise<Place> {
  const made = await place();
  await qemuImg('create', '-f', format, ...options, made.file(name), '1M');
  const bytes = await readFile(made.file(name));
  change(bytes);
  await writeFile(made.file(name), bytes);
  return made;
}

const descriptor = (...lines: readonly string[]) =>
  [
    '# Disk DescriptorFile',
    'version=1',
    'CID=12345678',
    'parentCID=ffffffff',
    'createType="monolithicFlat"',
    ...lines,
    '',
  ].join('\n');

test.each([
  ['an absolute name', (file: string) => file],
  ['a relative name', () => '../secret'],
  ['a link', () => 'link'],
])(
  'commit throws FORBIDDEN for a VMDK whose extent leads out of its folder by %s, unless it is allowed',
  async (_, nameFor) => {
    const made = await place();
    const secret = join(dirname(made.file('x')), 'secret');
    await writeFile(secret, Buffer.alloc(1 << 20, 1));
    await mkdir(made.file('vm'));
    await symlink(secret, made.file('vm/link'));
    await writeFile(made.file('vm/web.vmdk'), descriptor(`RW 2048 FLAT "${nameFor(secret)}" 0`));
    await expect(made.commit('vm/web.vmdk')).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringMatching(/^\S+web\.vmdk: its extent .* --allow-backing/),
    });
    await expect(made.commit('vm/web.vmdk', { allowBacking: [dirname(secret)] })).resolves.toMatchObject({
      unchanged: false,
    });
  },
);

test.each([
  ['names a protocol', 'RW 2048 FLAT "nbd:host:1" 0', 'FORBIDDEN', /names a protocol/],
  ['names a json: description', 'RW 2048 FLAT "json:{}" 0', 'FORBIDDEN', /json:/],
  ['names itself', 'RW 2048 FLAT "web.vmdk" 0', 'BAD_IMAGE', /twice/],
  ['names what is not there', 'RW 2048 FLAT "none.vmdk" 0', 'NOT_FOUND', /does not exist/],
  ['has an extent that QEMU leaves out', 'RDONLY 2048 FLAT "disk" 0', 'UNSUPPORTED', /RDONLY FLAT/],
  ['has an extent without a file', 'RW 2048 ZERO', 'UNSUPPORTED', /RW ZERO/],
  ['has an extent of a device', 'RW 2048 VMFSRAW "disk"', 'UNSUPPORTED', /VMFSRAW/],
  ['has no extent', '', 'BAD_IMAGE', /names no extent/],
  [
    'stands on another by name',
    'RW 2048 FLAT "disk" 0\nparentFileNameHint="disk"',
    'UNSUPPORTED',
    /another VMDK/,
  ],
  [
    'hides a parent in a comment',
    'RW 2048 FLAT "disk" 0\n#parentFileNameHint="disk"',
    'UNSUPPORTED',
    /another VMDK/,
  ],
  [
    'stands on another by content',
    'RW 2048 FLAT "disk" 0\nparentCID=1234abcd',
    'UNSUPPORTED',
    /another VMDK/,
  ],
])('commit refuses a VMDK that %s', async (_, line, code, message) => {
  const made = await place();
  await writeFile(made.file('disk'), Buffer.alloc(1 << 20, 1));
  const text = line.includes('parentCID')
    ? descriptor(line).replace('parentCID=ffffffff\n', '')
    : descriptor(line);
  await writeFile(made.file('web.vmdk'), text);
  await expect(made.commit('web.vmdk')).rejects.toMatchObject({
    code,
    message: expect.stringMatching(message),
  });
});

test('commit throws FORBIDDEN for a file that only looks like a VMDK and names files, unless its format is said', async () => {
  const made = await place();
  await writeFile(made.file('disk'), Buffer.alloc(1 << 20, 1));
  await writeFile(made.file('web'), descriptor('RW 2048 FLAT "disk" 0'));
  await expect(made.commit('web')).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(made.commit('web', { format: 'vmdk' })).resolves.toMatchObject({ unchanged: false });
});

test.each(['disk.raw', 'disk.img'])(
  'commit throws BAD_IMAGE for %s that looks like a VDI, until its format is said',
  async (name) => {
    const made = await crafted('vdi', 'disk.vdi', () => {});
    await rename(made.file('disk.vdi'), made.file(name));
    await expect(made.commit(name)).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: expect.stringContaining('--format raw or --format vdi'),
    });
    expect((await made.commit(name, { format: 'vdi' })).disks).toMatchObject([{ virtualSize: 1 << 20 }]);
  },
);

const at = (bytes: Buffer, guid: string) => bytes.indexOf(Buffer.from(guid, 'hex'));

test.each<[string, string, string, (bytes: Buffer) => void, RegExp]>([
  [
    'a sparse VMDK with a parent',
    'vmdk',
    'a.vmdk',
    (b) => void b.write('parentFileNameHint="x"', b.indexOf(0, 0x200)),
    /another VMDK/,
  ],
  [
    'a sparse VMDK with a parent by content',
    'vmdk',
    'a.vmdk',
    (b) => void b.write('00000001', b.indexOf('ffffffff')),
    /another VMDK/,
  ],
  ['a sparse VMDK of size 0', 'vmdk', 'a.vmdk', (b) => void b.fill(0, 12, 20), /size 0/],
  ['an extent of a VMDK', 'vmdk', 'a.vmdk', (b) => void b.fill(0, 28, 44), /one extent/],
  ['a differencing VHD', 'vpc', 'a.vhd', (b) => void b.writeUInt32BE(4, 60), /differencing VHD/],
  ['a differencing VDI', 'vdi', 'a.vdi', (b) => void b.writeUInt32LE(4, 0x4c), /changes to another/],
  ['a VDI with a parent', 'vdi', 'a.vdi', (b) => void b.writeUInt8(1, 0x1b8), /changes to another/],
  [
    'a differencing VHDX',
    'vhdx',
    'a.vhdx',
    (b) => {
      const entry = at(b, '3767a1ca36fa434db3b633f0aa44e76b');
      const table = entry - (entry % 65536);
      b.writeUInt32LE(2, table + b.readUInt32LE(entry + 16) + 4);
    },
    /differencing VHDX/,
  ],
  [
    'a VHDX with a parent locator',
    'vhdx',
    'a.vhdx',
    (b) => {
      Buffer.from('2d5fd3a80bb34d45abf7d3d84834ab0c', 'hex').copy(
        b,
        at(b, '3767a1ca36fa434db3b633f0aa44e76b') + 32,
      );
    },
    /differencing VHDX/,
  ],
  ['a QED with a backing file', 'qed', 'a.qed', (b) => void b.writeUInt8(1, 16), /backing file/],
])('commit throws UNSUPPORTED for %s', async (_, format, name, change, message) => {
  const made = await crafted(format, name, change);
  await expect(made.commit(name)).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringMatching(message),
  });
});

test('commit throws UNSUPPORTED for one of several Parallels images that stand on each other', async () => {
  const made = await crafted('parallels', 'a.hds', () => {});
  await writeFile(made.file('DiskDescriptor.xml'), '<Image></Image>');
  expect((await made.commit('a.hds')).unchanged).toBe(false);
  await writeFile(made.file('DiskDescriptor.xml'), '<Image></Image><Image></Image>');
  await expect(made.commit('a.hds')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

test('commit says that a QED overlay, made by qemu-img, is refused before QEMU follows its name', async () => {
  const made = await place();
  await qemuImg('create', '-f', 'raw', made.file('base.raw'), '1M');
  await qemuImg('create', '-f', 'qed', '-b', made.file('base.raw'), '-F', 'raw', made.file('top.qed'));
  await expect(made.commit('top.qed')).rejects.toMatchObject({ code: 'UNSUPPORTED' });
});

test('commit refuses a qcow2 on a VMDK with one clear line', async () => {
  const made = await place();
  await qemuImg('create', '-f', 'vmdk', made.file('base.vmdk'), '1M');
  await qemuImg('create', '-f', 'qcow2', '-b', made.file('base.vmdk'), '-F', 'vmdk', made.file('top.qcow2'));
  await expect(made.commit('top.qcow2')).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('"vmdk"'),
  });
});

test.each(['vmdk', 'vdi', 'vhd', 'vhdx', 'qed', 'hds'])(
  'commit gives one clear error for a %s file of which only the start is there',
  async (ending) => {
    const format = { vhd: 'vpc', hds: 'parallels' }[ending] ?? ending;
    const name = `cut.${ending}`;
    for (const length of [4, 100, 512, 1000, 70_000]) {
      const made = await crafted(format, name, () => {});
      await writeFile(made.file(name), (await readFile(made.file(name))).subarray(0, length));
      await made.commit(name).then(
        () => {},
        (error) => {
          expect(['BAD_IMAGE', 'UNSUPPORTED', 'NBD']).toContain(error.code);
          expect(error.message).not.toContain('\n');
        },
      );
    }
  },
);

test('commit throws BAD_IMAGE with the words of QEMU when it does not open an image', async () => {
  const made = await crafted('vdi', 'a.vdi', (bytes) => void bytes.writeUInt32LE(99, 0x44));
  await copyFile(made.file('a.vdi'), made.file('b.vdi'));
  await expect(made.commit('b.vdi')).rejects.toMatchObject({
    code: 'BAD_IMAGE',
    message: expect.stringMatching(/b\.vdi: QEMU does not open it as vdi: .*version/),
  });
});
