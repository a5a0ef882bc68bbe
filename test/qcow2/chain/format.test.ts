import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { openImage } from '../../../qcow2/index.ts';
import { qemuImg, tempFolder } from '../qemu.ts';

const file = tempFolder();

async function opened(name: string, format?: 'raw' | 'qcow2') {
  const image = await openImage(file(name), { format });
  await image.source.close();
  return image;
}

describe('the format of a file that is named', () => {
  it.each(['disk.raw', 'disk.img', 'disk.bin', 'disk.iso', 'disk.DD'])('is raw for %s', async (name) => {
    await writeFile(file(name), Buffer.alloc(1001, 1));
    const image = await opened(name);
    expect(image.format).toBe('raw');
    // To the byte: a raw disk need not end with a whole sector.
    expect(image.source.size).toBe(1001);
    expect(image.facts.qcow2).toBeUndefined();
  });

  it.each(['disk.qcow2', 'disk.qcow', 'disk.QC2', 'disk.img', 'disk', 'disk.snap1'])(
    'is qcow2 by content for %s',
    async (name) => {
      await qemuImg('create', '-f', 'qcow2', file(name), '1M');
      expect((await opened(name)).format).toBe('qcow2');
    },
  );

  it('is what the user says, whatever the content', async () => {
    await qemuImg('create', '-f', 'qcow2', file('said.raw'), '1M');
    expect((await opened('said.raw', 'raw')).format).toBe('raw');
    expect((await opened('said.raw', 'qcow2')).format).toBe('qcow2');
    await writeFile(file('said'), 'text');
    expect((await opened('said', 'raw')).source.size).toBe(4);
    await expect(opened('said', 'qcow2')).rejects.toMatchObject({ code: 'BAD_IMAGE' });
  });

  it('is refused as ambiguous for qcow2 content in a .raw file', async () => {
    await qemuImg('create', '-f', 'qcow2', file('both.raw'), '1M');
    await expect(opened('both.raw')).rejects.toMatchObject({ code: 'BAD_IMAGE' });
  });

  it('is refused for a .qcow2 file without the magic, empty ones too', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.from('QFI'), Buffer.alloc(70_000)]) {
      await writeFile(file('no-magic.qcow2'), bytes);
      await expect(opened('no-magic.qcow2')).rejects.toMatchObject({
        code: 'BAD_IMAGE',
        message: expect.stringContaining('no qcow2 magic'),
      });
    }
  });

  it('is refused for anything else, with the way out', async () => {
    await writeFile(file('letter.txt'), 'dear reader');
    await writeFile(file('nothing'), '');
    for (const name of ['letter.txt', 'nothing']) {
      await expect(opened(name)).rejects.toMatchObject({
        code: 'BAD_IMAGE',
        message: expect.stringContaining('pass --format raw'),
      });
    }
  });

  it.each(['vmdk', 'vdi', 'vpc', 'vhdx', 'qed', 'parallels'])('is refused by name for %s', async (format) => {
    const name = `foreign.${format}`;
    await qemuImg('create', '-f', format, file(name), '8M');
    await expect(opened(name)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining(`is a ${format} image`),
    });
  });

  it('lets a guess open no other files', async () => {
    await writeFile(file('under.raw'), Buffer.alloc(512));
    for (const name of ['guess.img', 'guess']) {
      await qemuImg('create', '-f', 'qcow2', '-b', 'under.raw', '-F', 'raw', file(name), '1M');
      await expect(opened(name)).rejects.toMatchObject({ code: 'FORBIDDEN' });
      expect((await opened(name, 'qcow2')).layers).toHaveLength(2);
    }
  });
});
