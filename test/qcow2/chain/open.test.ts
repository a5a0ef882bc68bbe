import { link, mkdir, readdir, readFile, rename, symlink, truncate, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { describeImage, type OpenOptions, openImage } from '../../../qcow2/index.ts';
import { encodeHeader } from '../../../qcow2/meta/header-encode.ts';
import { CRYPT_METHOD_AT, INCOMPATIBLE_AT } from '../../../qcow2/meta/layout.ts';
import { noise, qemuBytes, qemuImg, qemuIo, readAll, tempFolder } from '../qemu.ts';

const file = tempFolder();

/** An image of 1 MiB with nothing in it, whose header names any backing file. */
async function overlay(path: string, backing: string, format = 'qcow2'): Promise<string> {
  const bytes = Buffer.alloc(3 * 65536);
  bytes.set(
    encodeHeader({
      clusterBits: 16,
      virtualSize: 2 ** 20,
      l1Offset: 65536,
      l1Entries: 1,
      refcountTableOffset: 2 * 65536,
      refcountTableClusters: 1,
      backing: { file: backing, format },
    }),
  );
  await writeFile(path, bytes);
  return path;
}

/** The error of opening `path`, which must leave no file open. */
async function refusal(path: string, options: OpenOptions = {}): Promise<ImgstoreError> {
  const before = (await readdir('/proc/self/fd')).length;
  try {
    await openImage(path, options);
  } catch (error) {
    expect(error).toBeInstanceOf(ImgstoreError);
    const failed = error as ImgstoreError;
    expect(failed.message).toMatch(/^\/[^\n:]+: [^\n]+$/);
    expect((await readdir('/proc/self/fd')).length).toBe(before);
    return failed;
  }
  throw new Error(`${path} was opened`);
}

describe('openImage', () => {
  it('opens a chain, tells its layers, and closes every file', async () => {
    await writeFile(file('base.raw'), noise(100_000, 1));
    await qemuImg('create', '-f', 'qcow2', '-b', 'base.raw', '-F', 'raw', file('middle.qcow2'), '1M');
    await qemuImg('create', '-f', 'qcow2', '-b', 'middle.qcow2', '-F', 'qcow2', file('top.qcow2'), '2M');
    const before = (await readdir('/proc/self/fd')).length;
    const opened = await openImage(file('top.qcow2'));
    expect(opened.format).toBe('qcow2');
    const layers = opened.layers.map(({ path, format, backing, source }) => {
      return { path: basename(path), format, backing, size: source.size };
    });
    expect(layers).toEqual([
      { path: 'top.qcow2', format: 'qcow2', backing: 'middle.qcow2', size: 2 ** 21 },
      { path: 'middle.qcow2', format: 'qcow2', backing: 'base.raw', size: 2 ** 20 },
      { path: 'base.raw', format: 'raw', backing: undefined, size: 100_000 },
    ]);
    expect(opened.files.map(({ path }) => basename(path))).toEqual(['top.qcow2', 'middle.qcow2', 'base.raw']);
    expect(opened.facts).toMatchObject({ path: file('top.qcow2'), virtualSize: 2 ** 21 });
    expect((await readAll(opened.source)).equals(await qemuBytes(file('top.qcow2')))).toBe(true);
    await opened.source.close();
    await opened.source.close();
    expect((await readdir('/proc/self/fd')).length).toBe(before);
  });

  it('takes a backing file without a named format only if it has the qcow2 magic', async () => {
    await qemuImg('create', '-f', 'qcow2', file('unnamed-base.qcow2'), '1M');
    await qemuIo(file('unnamed-base.qcow2'), 'write -P 7 0 64k');
    await overlay(file('unnamed.qcow2'), 'unnamed-base.qcow2', '');
    const opened = await openImage(file('unnamed.qcow2'));
    expect(opened.layers[1]?.format).toBe('qcow2');
    await opened.source.close();
    await writeFile(file('unnamed-base.raw'), noise(65536, 2));
    const failed = await refusal(await overlay(file('unnamed2.qcow2'), 'unnamed-base.raw', ''));
    expect(failed.code).toBe('BAD_IMAGE');
    expect(failed.message).toContain('qemu-img rebase -u -F raw -b');
  });

  it('reads the bytes of a backing file that is named raw, even if they look like qcow2', async () => {
    await overlay(file('nested-bait.raw'), '/etc/passwd', 'raw');
    const opened = await openImage(await overlay(file('over-bait.qcow2'), 'nested-bait.raw', 'raw'));
    const magic = Buffer.alloc(4);
    await opened.source.read(0, magic);
    expect(magic.toString('latin1')).toBe('QFI\xfb');
    expect(opened.files).toHaveLength(2);
    await opened.source.close();
  });

  it.each(['vmdk', 'vdi', 'luks', 'nonsense\nformat'])('refuses a backing format %j', async (format) => {
    await writeFile(file('some.base'), Buffer.alloc(512));
    expect((await refusal(await overlay(file('foreign.qcow2'), 'some.base', format))).code).toBe(
      'UNSUPPORTED',
    );
  });

  it('takes relative names from the folder of the image that names them', async () => {
    await mkdir(file('sub/deep'), { recursive: true });
    await writeFile(file('sub/deep/b.raw'), noise(70_000, 4));
    await overlay(file('sub/m.qcow2'), 'deep/b.raw', 'raw');
    await overlay(file('t.qcow2'), 'sub/m.qcow2');
    const opened = await openImage(file('t.qcow2'));
    expect(opened.files).toHaveLength(3);
    await opened.source.close();
    await symlink(file('sub'), file('linked'));
    const through = await openImage(file('linked/m.qcow2'));
    expect(through.files).toHaveLength(2);
    await through.source.close();
  });

  it.each([
    ['an absolute path', '/etc/passwd'],
    ['a path upwards', '../../../../../../../../etc/passwd'],
    ['a path upwards to what is not there', '../nothing-here'],
    ['an absolute path to what is not there', '/nothing/here'],
    ['json:', 'json:{"driver":"file","filename":"/etc/passwd"}'],
    ['nbd:', 'nbd:localhost:10809'],
    ['file:', 'file:base.raw'],
    ['fat:', 'fat:rw:/tmp'],
    ['http:', 'http://localhost/x'],
    ['a colon before any slash', 'a:b'],
    ['a link out of the folder', 'link-out'],
    ['a folder link out of the folder', 'folder-out/passwd'],
    ['the folder above through a link', 'inner-link/../../etc/passwd'],
  ])('refuses %s', async (_, name) => {
    await symlink('/etc/passwd', file('link-out')).catch(() => {});
    await symlink('/etc', file('folder-out')).catch(() => {});
    await symlink('/usr/lib', file('inner-link')).catch(() => {});
    for (const format of ['raw', 'qcow2', '']) {
      const failed = await refusal(await overlay(file('escape.qcow2'), name, format));
      expect(failed.code).toBe('FORBIDDEN');
      expect(failed.message.startsWith(`${file('escape.qcow2')}: its backing file `)).toBe(true);
    }
  });

  it('follows names into folders that are allowed, and only those', async () => {
    await mkdir(file('elsewhere/images'), { recursive: true });
    await mkdir(file('elsewhere-not'));
    await writeFile(file('elsewhere/images/x.raw'), Buffer.alloc(512));
    await writeFile(file('elsewhere-not/x.raw'), Buffer.alloc(512));
    await mkdir(file('mine'));
    const image = await overlay(file('mine/i.qcow2'), file('elsewhere/images/x.raw'), 'raw');
    expect((await refusal(image)).code).toBe('FORBIDDEN');
    const opened = await openImage(image, { allow: [file('elsewhere')] });
    await opened.source.close();
    const other = await overlay(file('mine/j.qcow2'), '../elsewhere-not/x.raw', 'raw');
    expect((await refusal(other, { allow: [file('elsewhere')] })).code).toBe('FORBIDDEN');
    expect((await refusal(other, { allow: [] })).code).toBe('FORBIDDEN');
    expect((await refusal(other, { allow: [file('no-such-folder')] })).code).toBe('NOT_FOUND');
  });

  it('follows a name with a colon after a slash', async () => {
    await writeFile(file('a:b'), Buffer.alloc(512));
    const opened = await openImage(await overlay(file('colon.qcow2'), './a:b', 'raw'));
    await opened.source.close();
  });

  it('tells which image names a backing file that is missing, and refuses folders and pipes', async () => {
    const missing = await refusal(await overlay(file('orphan.qcow2'), 'gone.qcow2'));
    expect(missing.code).toBe('NOT_FOUND');
    expect(missing.message).toContain('orphan.qcow2: its backing file "gone.qcow2"');
    await mkdir(file('a-folder'));
    expect((await refusal(await overlay(file('on-folder.qcow2'), 'a-folder', 'raw'))).code).toBe('BAD_IMAGE');
    expect((await refusal(file('no-such-image.qcow2'))).code).toBe('NOT_FOUND');
  });

  it('refuses an image that backs itself, by any name', async () => {
    expect((await refusal(await overlay(file('self.qcow2'), 'self.qcow2'))).message).toContain('loop');
    await overlay(file('hard.qcow2'), 'hard-link.qcow2');
    await link(file('hard.qcow2'), file('hard-link.qcow2'));
    expect((await refusal(file('hard.qcow2'))).message).toContain('loop');
    await overlay(file('soft.qcow2'), 'soft-link.qcow2');
    await symlink('soft.qcow2', file('soft-link.qcow2'));
    expect((await refusal(file('soft.qcow2'))).message).toContain('loop');
  });

  it('refuses a loop of three', async () => {
    await overlay(file('l1.qcow2'), 'l2.qcow2');
    await overlay(file('l2.qcow2'), 'l3.qcow2');
    await overlay(file('l3.qcow2'), 'l1.qcow2');
    expect((await refusal(file('l1.qcow2'))).message).toContain('loop');
  });

  it('opens 200 layers and refuses 201', async () => {
    await mkdir(file('deep'));
    await writeFile(file('deep/0.raw'), noise(65536, 9));
    await overlay(file('deep/1.qcow2'), '0.raw', 'raw');
    for (let i = 2; i <= 200; i++) await overlay(file(`deep/${i}.qcow2`), `${i - 1}.qcow2`);
    const opened = await openImage(file('deep/199.qcow2'));
    expect(opened.layers).toHaveLength(200);
    const bytes = await readAll(opened.source);
    expect(bytes.subarray(0, 65536).equals(noise(65536, 9))).toBe(true);
    await opened.source.close();
    expect((await refusal(file('deep/200.qcow2'))).message).toContain('deeper than 200');
  });

  it('refuses a chain whose L1 tables would fill memory', async () => {
    await mkdir(file('greedy'));
    const header = (backing: string) =>
      encodeHeader({
        clusterBits: 9,
        virtualSize: 2 ** 37,
        l1Offset: 512,
        l1Entries: 2 ** 22,
        refcountTableOffset: 512,
        refcountTableClusters: 1,
        backing: { file: backing, format: 'qcow2' },
      });
    for (let i = 0; i < 17; i++) {
      const path = file(`greedy/${i}.qcow2`);
      await writeFile(path, header(i === 0 ? '' : `${i - 1}.qcow2`));
      await truncate(path, 512 + 2 ** 25);
    }
    const failed = await refusal(file('greedy/16.qcow2'));
    expect(failed.code).toBe('UNSUPPORTED');
    expect(failed.message).toContain('L1 tables');
  });

  it('follows names in a backing file of no named format only when its own name says that it is qcow2', async () => {
    await mkdir(file('guess'));
    await writeFile(file('guess/bottom.raw'), noise(2 ** 20, 4));
    for (const [middle, isNamedSo] of [
      ['middle.qcow2', true],
      ['middle.raw', false],
      ['middle', false],
    ] as const) {
      await overlay(file(`guess/${middle}`), 'bottom.raw', 'raw');
      const top = await overlay(file('guess/top.qcow2'), middle, '');
      if (isNamedSo) {
        const { source, files } = await openImage(top);
        expect(files).toHaveLength(3);
        await source.close();
      } else {
        const failed = await refusal(top);
        expect(failed.code).toBe('FORBIDDEN');
        expect(failed.message).toContain(`${middle}: looks like qcow2 by content only`);
      }
    }
  });

  it('refuses a data file that is not named', async () => {
    const image = await overlay(file('nameless.qcow2'), '');
    const bytes = await readFile(image);
    bytes.writeBigUInt64BE(4n, INCOMPATIBLE_AT);
    await writeFile(image, bytes);
    expect((await refusal(image)).message).toContain('does not name it');
  });

  it('refuses data files outside of the folder, and an image that is its own data file', async () => {
    await mkdir(file('ext'));
    const image = file('ext/disk.qcow2');
    await qemuImg('create', '-f', 'qcow2', '-o', `data_file=${file('outside.data')}`, image, '1M');
    const failed = await refusal(image);
    expect(failed.code).toBe('FORBIDDEN');
    expect(failed.message).toContain('its data file');
    const opened = await openImage(image, { allow: [dirname(file('x'))] });
    expect(opened.files).toHaveLength(2);
    await opened.source.close();
    await qemuImg('create', '-f', 'qcow2', '-o', `data_file=${file('ext/own')}`, image, '1M');
    await rename(image, file('ext/own'));
    expect((await refusal(file('ext/own'), { format: 'qcow2' })).message).toContain('loop');
  });

  it('refuses encrypted images, which describeImage describes', async () => {
    const image = await overlay(file('secret.qcow2'), '');
    for (const [method, name] of [
      [1, 'AES'],
      [2, 'LUKS'],
    ] as const) {
      const bytes = await readFile(image);
      bytes.writeUInt32BE(method, CRYPT_METHOD_AT);
      await writeFile(image, bytes);
      const failed = await refusal(image);
      expect(failed.code).toBe('UNSUPPORTED');
      expect(failed.message).toContain(`is encrypted with ${name}`);
      expect((await describeImage(image)).qcow2?.encrypted).toBe(name.toLowerCase());
    }
    const over = await overlay(file('over-secret.qcow2'), 'secret.qcow2');
    expect((await refusal(over)).code).toBe('UNSUPPORTED');
  });
});

describe('describeImage', () => {
  it('says of an image what qemu-img info says', async () => {
    const image = file('facts.qcow2');
    await qemuImg(
      'create',
      '-f',
      'qcow2',
      '-u',
      '-b',
      'not-there.raw',
      '-F',
      'raw',
      '-o',
      'cluster_size=128k,compression_type=zstd,extended_l2=on,lazy_refcounts=on,refcount_bits=8',
      image,
      '3M',
    );
    const info = JSON.parse(await qemuImg('info', '--output=json', image));
    const facts = await describeImage(image);
    expect(facts).toMatchObject({
      path: image,
      format: 'qcow2',
      virtualSize: info['virtual-size'],
      allocatedBytes: info['actual-size'],
    });
    expect(facts.qcow2).toMatchObject({
      version: 3,
      compat: info['format-specific'].data.compat,
      clusterSize: info['cluster-size'],
      compressionType: 'zstd',
      extendedL2: true,
      lazyRefcounts: true,
      refcountBits: 8,
      backingFile: 'not-there.raw',
      backingFormat: 'raw',
      encrypted: undefined,
      snapshots: 0,
    });
    expect(JSON.parse(JSON.stringify(facts))).toMatchObject({ qcow2: { clusterSize: 131072 } });
  });

  it('describes raw disks', async () => {
    await writeFile(file('plain.img'), Buffer.alloc(1001, 1));
    expect(await describeImage(file('plain.img'))).toMatchObject({
      format: 'raw',
      virtualSize: 1001,
      fileSize: 1001,
      qcow2: undefined,
    });
  });
});
