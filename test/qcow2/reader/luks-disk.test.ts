import { truncateSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { MemorySource, RawFile } from '../../../block/index.ts';
import { LuksDisk, luksDiskSize } from '../../../qcow2/index.ts';
import { describeBlockSource } from '../../block/block-source-conformance.ts';
import { cryptsetupEncrypt, cryptsetupHeader, QUICK } from '../crypto/cryptsetup.ts';
import { encryptXts, makeLuks } from '../crypto/make-luks.ts';
import { type Json, luks2Parts, makeLuks2 } from '../crypto/make-luks2.ts';
import { createLuksContainer, PASSWORD } from '../crypto/qemu-encrypted.ts';
import { noise, readAll, tempFolder } from '../qemu.ts';

const file = tempFolder();
const KEY = Buffer.from(PASSWORD);
const MASTER_KEY = noise(64, 3);
const PLAIN = noise(1_000_448, 21);

async function expectDisk(path: string, expected: Buffer): Promise<void> {
  const disk = await LuksDisk.open(await RawFile.open(path), { name: path, key: KEY });
  try {
    expect(disk.size).toBe(expected.length);
    expect((await readAll(disk)).equals(expected)).toBe(true);
    expect((await readAll(disk, 10_007)).equals(expected)).toBe(true);
  } finally {
    await disk.close();
  }
}

/** A LUKS2 container in memory, with changes to its segment. */
function container(change: Json, disk: Buffer): MemorySource {
  const { json, material } = luks2Parts(KEY, MASTER_KEY);
  const offset = 32768 + material.length;
  Object.assign(json.segments['0'], { offset: String(offset), ...change });
  const stored = Buffer.from(disk);
  encryptXts(stored, MASTER_KEY, json.segments['0'].sector_size, Number(json.segments['0'].iv_tweak));
  return new MemorySource(Buffer.concat([makeLuks2(JSON.stringify(json), material), stored]));
}

const conforming = (change: Json) => async (disk: Uint8Array) =>
  LuksDisk.open(container(change, Buffer.from(disk)), { name: 'x', key: KEY });
describeBlockSource('LuksDisk', conforming({ iv_tweak: '77' }), { unit: 512, runs: 60 });
describeBlockSource('LuksDisk of large sectors', conforming({ sector_size: 4096 }), { unit: 4096, runs: 60 });

describe('LuksDisk', () => {
  it.each([
    ['argon2id', [...QUICK.argon2id, '--sector-size', '512']],
    ['argon2i and sectors of 4 KiB', [...QUICK.argon2i, '--sector-size', '4096']],
    ['pbkdf2 and cbc-essiv', [...QUICK.pbkdf2, '--cipher', 'aes-cbc-essiv:sha256', '--key-size', '256']],
    [
      'plain vectors and sectors of 1 KiB',
      [...QUICK.pbkdf2, '--cipher', 'aes-xts-plain', '--sector-size', '1024'],
    ],
  ])('reads what cryptsetup has encrypted with LUKS2: %s', async (name, options) => {
    const path = file(`${name.replaceAll(' ', '-')}.luks2`);
    await expectDisk(path, cryptsetupEncrypt(path, PLAIN, options));
  });

  it.each([
    ['by default', []],
    [
      'with cbc and essiv and a short key',
      ['cipher-mode=cbc', 'ivgen-alg=essiv', 'ivgen-hash-alg=sha256', 'cipher-alg=aes-128'],
    ],
  ])('reads what QEMU has encrypted with LUKS1: %s', async (name, options) => {
    const path = file(`${name.replaceAll(' ', '-')}.luks1`);
    await createLuksContainer(path, PLAIN, options);
    await expectDisk(path, PLAIN);
  });

  it('has the size that the header says, or else that of the file', async () => {
    const disk = noise(8192, 1);
    const sized = container({ size: '4096' }, disk);
    expect(await luksDiskSize(sized, 'x')).toBe(4096);
    const opened = await LuksDisk.open(sized, { name: 'x', key: KEY });
    expect((await readAll(opened)).equals(disk.subarray(0, 4096))).toBe(true);
    expect(await luksDiskSize(container({}, Buffer.alloc(8192)), 'x')).toBe(8192);
    const path = file('cut');
    cryptsetupHeader(path, 1, ['--pbkdf-force-iterations', '1000']);
    truncateSync(path, (await stat(path)).size - 100);
    const raw = await RawFile.open(path);
    // The rest of a sector is no part of a disk.
    expect(await luksDiskSize(raw, path)).toBe(4 * 2 ** 20 - 512);
    await raw.close();
  });

  it.each([
    ['a size beyond the file', { size: '8704' }, 'BAD_IMAGE', 'with 8704 bytes leaves the file of'],
    ['a huge size', { size: '9007199254740480' }, 'BAD_IMAGE', 'with 9007199254740480 bytes leaves'],
    [
      'a place beyond the file',
      { offset: '1048576' },
      'BAD_IMAGE',
      'its LUKS disk at 1048576 leaves the file of',
    ],
    [
      'half a sector at its end',
      { sector_size: 4096, offset: '289280' },
      'BAD_IMAGE',
      'does not end with a sector',
    ],
    ['its disk in another file', { offset: '0' }, 'UNSUPPORTED', 'is a LUKS header alone'],
  ])('refuses a container with %s', async (_, change, code, message) => {
    const bytes = container(change, Buffer.alloc(8192));
    const refusal = { code, message: expect.stringContaining(message) };
    await expect(luksDiskSize(bytes, 'x')).rejects.toMatchObject(refusal);
    await expect(LuksDisk.open(bytes, { name: 'x', key: KEY })).rejects.toMatchObject(refusal);
  });

  it('refuses what is no container, and one without its key', async () => {
    for (const length of [0, 591, 4096]) {
      await expect(luksDiskSize(new MemorySource(Buffer.alloc(length)), 'x')).rejects.toMatchObject({
        code: 'BAD_IMAGE',
      });
    }
    const luks = makeLuks({ password: KEY, masterKey: MASTER_KEY, hash: 'sha256', iterations: 10, slot: 0 });
    const source = new MemorySource(luks);
    await expect(LuksDisk.open(source, { name: 'x' })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(LuksDisk.open(source, { name: 'x', key: Buffer.from('y') })).rejects.toMatchObject({
      code: 'WRONG_KEY',
    });
  });
});
