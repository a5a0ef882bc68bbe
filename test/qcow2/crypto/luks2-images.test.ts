import { createCipheriv } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { describeImage, openImage } from '../../../qcow2/index.ts';
import { noise, readAll, tempFolder } from '../qemu.ts';
import { cryptsetupAddKey, cryptsetupHeader, cryptsetupRun, QUICK, volumeKey } from './cryptsetup.ts';
import { imageWithData } from './luks-in-qcow2.ts';
import { encryptXts } from './make-luks.ts';
import { encryptedBytes, PASSWORD } from './qemu-encrypted.ts';

const file = tempFolder();
const KEY = Buffer.from(PASSWORD);
const CLUSTER = 65536;
const DATA = noise(3 * CLUSTER, 11);

/** The disk of an image by `imageWithData`. */
const DISK = Buffer.alloc(2 ** 20);
DATA.copy(DISK, 2 * CLUSTER);

/** An image whose LUKS2 header cryptsetup made and whose data the key in it encrypts. */
function makeImage(name: string, options: readonly string[], sectorBytes = 512): string {
  const header = file(`${name}.luks`);
  const luks = cryptsetupHeader(header, 2, ['--sector-size', String(sectorBytes), ...options]);
  return wrap(name, luks, volumeKey(header), sectorBytes);
}

function wrap(name: string, luks: Buffer, key: Buffer, sectorBytes = 512): string {
  const path = file(`${name}.qcow2`);
  const encrypt = (bytes: Buffer, host: number) => encryptXts(bytes, key, sectorBytes, host / 512);
  writeFileSync(path, imageWithData(luks, DATA, encrypt));
  return path;
}

async function expectDisk(path: string, key = KEY): Promise<void> {
  const opened = await openImage(path, { key });
  try {
    expect((await readAll(opened.source)).equals(DISK)).toBe(true);
    expect((await readAll(opened.source, 10_007)).equals(DISK)).toBe(true);
  } finally {
    await opened.source.close();
  }
}

describe('an image with a LUKS2 header', () => {
  it.each([
    ['pbkdf2', [...QUICK.pbkdf2], 512],
    ['argon2id', [...QUICK.argon2id], 512],
    ['argon2i', [...QUICK.argon2i], 512],
    ['sha512', [...QUICK.pbkdf2, '--hash', 'sha512'], 512],
    [
      'a short key and larger copies',
      [...QUICK.argon2id, '--key-size', '256', '--luks2-metadata-size', '64k'],
      512,
    ],
    ['sectors of 1 KiB', [...QUICK.pbkdf2], 1024],
    ['sectors of 4 KiB', [...QUICK.pbkdf2], 4096],
    [
      'key slots encrypted otherwise',
      [...QUICK.pbkdf2, '--keyslot-cipher', 'aes-cbc-essiv:sha256', '--keyslot-key-size', '128'],
      512,
    ],
  ])('is read with the key that cryptsetup made: %s', async (name, options, sectorBytes) => {
    const path = makeImage(name.replaceAll(' ', '-'), options, sectorBytes);
    await expectDisk(path);
    await expect(openImage(path, { key: Buffer.from('wrong') })).rejects.toMatchObject({
      code: 'WRONG_KEY',
      message: `${path}: the key opens none of its 1 LUKS key slots`,
    });
  });

  it('is read with the cipher cbc-plain64', async () => {
    const header = file('cbc.luks');
    const luks = cryptsetupHeader(header, 2, [
      ...QUICK.pbkdf2,
      ...['--sector-size', '512', '--cipher', 'aes-cbc-plain64', '--key-size', '256'],
    ]);
    const key = volumeKey(header);
    const encrypt = (bytes: Buffer, host: number) => {
      for (let at = 0; at < bytes.length; at += 512) {
        const iv = Buffer.alloc(16);
        iv.writeBigUInt64LE(BigInt((host + at) / 512));
        const cipher = createCipheriv('aes-256-cbc', key, iv).setAutoPadding(false);
        cipher.update(bytes.subarray(at, at + 512)).copy(bytes, at);
      }
    };
    writeFileSync(file('cbc.qcow2'), imageWithData(luks, DATA, encrypt));
    await expectDisk(file('cbc.qcow2'));
  });

  it('is not read by QEMU, and described without a key', async () => {
    const path = makeImage('described', QUICK.pbkdf2);
    await expect(encryptedBytes(path, 'luks')).rejects.toThrow('LUKS version 2');
    expect((await describeImage(path)).qcow2?.encrypted).toBe('luks');
  });

  it('is opened by any of its slots, and by none whose priority is to be ignored', async () => {
    const header = file('slots.luks');
    cryptsetupHeader(header, 2, ['--sector-size', '512', ...QUICK.pbkdf2]);
    cryptsetupAddKey(header, 'second', QUICK.argon2id);
    const key = volumeKey(header);
    const luks = () => readFileSync(header).subarray(0, 2 ** 24);
    const both = wrap('slots', luks(), key);
    await expectDisk(both);
    await expectDisk(both, Buffer.from('second'));
    cryptsetupRun('config', '--priority', 'ignore', '--key-slot', '0', header);
    const ignored = wrap('ignored', luks(), key);
    await expectDisk(ignored, Buffer.from('second'));
    await expect(openImage(ignored, { key: KEY })).rejects.toMatchObject({ code: 'WRONG_KEY' });
    cryptsetupRun('config', '--priority', 'ignore', '--key-slot', '1', header);
    await expectDisk(wrap('only-ignored', luks(), key));
  });

  it('is read by its second copy when the first is damaged, as cryptsetup reads it', async () => {
    const header = file('copies.luks');
    const luks = cryptsetupHeader(header, 2, ['--sector-size', '512', ...QUICK.pbkdf2]);
    const key = volumeKey(header);
    luks[5000]! ^= 1;
    await expectDisk(wrap('copies', luks, key));
    luks[16384 + 5000]! ^= 1;
    await expect(openImage(wrap('damaged', luks, key), { key: KEY })).rejects.toMatchObject({
      code: 'BAD_IMAGE',
      message: expect.stringMatching(
        /neither copy of its LUKS2 header is whole: the first has another checksum/,
      ),
    });
  });

  it('is refused while cryptsetup is re-encrypting it, and with a cipher that is not there', async () => {
    const header = file('begun.luks');
    cryptsetupHeader(header, 2, ['--sector-size', '512', ...QUICK.pbkdf2]);
    const key = volumeKey(header);
    cryptsetupRun('reencrypt', '--init-only', '--resilience', 'none', ...QUICK.pbkdf2, header);
    const begun = wrap('begun', readFileSync(header).subarray(0, 2 ** 24), key);
    await expect(openImage(begun, { key: KEY })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('requires "online-reencrypt'),
    });
    const other = makeImage('other', [...QUICK.pbkdf2, '--cipher', 'aes-ctr-plain64', '--key-size', '256']);
    await expect(openImage(other, { key: KEY })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('"aes-ctr-plain64"'),
    });
  });
});
