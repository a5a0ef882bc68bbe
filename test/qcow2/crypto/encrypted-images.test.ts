import { stat, truncate, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { describeImage, openImage } from '../../../qcow2/index.ts';
import { extentsOf, noise, qemuImg, readAll, tempFolder } from '../qemu.ts';
import { cryptsetupHeader } from './cryptsetup.ts';
import { imageWithHeader } from './luks-in-qcow2.ts';
import {
  addKey,
  createEncrypted,
  encryptedBytes,
  encryptedIo,
  encryptedSnapshot,
  PASSWORD,
} from './qemu-encrypted.ts';

const file = tempFolder();
const KEY = Buffer.from(PASSWORD);

const WRITES = [
  'write -P 1 0 200k',
  'write -P 2 300k 3k',
  'write -z 64k 64k',
  'write -P 3 1M 64k',
  'discard 1M 32k',
];

/** All bytes of an image, read whole and in pieces that begin and end within sectors. */
async function expectAsQemu(path: string, format: 'luks' | 'aes', snapshot?: string): Promise<void> {
  const opened = await openImage(path, { key: KEY, snapshot });
  try {
    const expected = await encryptedBytes(path, format, snapshot);
    expect((await readAll(opened.source)).equals(expected)).toBe(true);
    expect((await readAll(opened.source, 10_007)).equals(expected)).toBe(true);
    for (const { offset, length, kind } of await extentsOf(opened.source)) {
      if (kind !== 'data')
        expect(expected.subarray(offset, offset + length).every((byte) => byte === 0)).toBe(true);
    }
  } finally {
    await opened.source.close();
  }
}

describe('an encrypted image', () => {
  it.each([
    ['aes-xts-plain64', '512', 'sha256'],
    ['aes-xts-plain64', '256', 'sha512'],
    ['aes-cbc-essiv:sha256', '256', 'sha1'],
  ])('is read with the LUKS key that cryptsetup made: %s, %s bits, %s', async (cipher, bits, hash) => {
    const options = [
      '--cipher',
      cipher,
      '--key-size',
      bits,
      '--hash',
      hash,
      '--pbkdf-force-iterations',
      '1000',
    ];
    const path = file('cryptsetup.qcow2');
    await writeFile(path, imageWithHeader(cryptsetupHeader(file('header'), 1, options)));
    await encryptedIo(path, 'luks', 'write -P 1 0 200k', 'write -P 2 300k 3k', 'write -z 64k 64k');
    await expectAsQemu(path, 'luks');
  });

  it.each([
    ['by default', []],
    [
      'with a short key, small clusters and sha1',
      ['cipher-alg=aes-128', 'hash-alg=sha1'],
      ['cluster_size=512'],
    ],
    [
      'with cbc, essiv, sha512 and extended L2 entries',
      ['cipher-mode=cbc', 'ivgen-alg=essiv', 'ivgen-hash-alg=sha256', 'hash-alg=sha512'],
      ['extended_l2=on', 'cluster_size=16k'],
    ],
    [
      'with plain, a middle key and ripemd160',
      ['cipher-alg=aes-192', 'ivgen-alg=plain', 'hash-alg=ripemd160'],
    ],
    [
      'with xts, essiv, sha224 and preallocated',
      ['ivgen-alg=essiv', 'ivgen-hash-alg=sha256', 'hash-alg=sha224'],
      ['preallocation=metadata', 'cluster_size=4k'],
    ],
  ])('is read with its LUKS key: %s', async (_, encryption, options: string[] = []) => {
    const path = file(`luks-${encryption.join('-')}.qcow2`);
    await createEncrypted(path, 'luks', '4M', [...encryption.map((each) => `encrypt.${each}`), ...options]);
    await encryptedIo(path, 'luks', ...WRITES);
    await expectAsQemu(path, 'luks');
  });

  it.each([
    ['default', []],
    ['small clusters', ['cluster_size=512']],
  ])('is read with its AES key: %s', async (name, options) => {
    const path = file(`aes-${name}.qcow2`);
    await createEncrypted(path, 'aes', '4M', options);
    await encryptedIo(path, 'aes', ...WRITES);
    await expectAsQemu(path, 'aes');
  });

  it('is read when its clusters are compressed, which are not encrypted', async () => {
    const path = file('packed.qcow2');
    await createEncrypted(path, 'luks', '1M');
    await encryptedIo(path, 'luks', 'write -c -P 5 0 64k', 'write -P 6 64k 64k');
    await expectAsQemu(path, 'luks');
  });

  it('is read when its last cluster is cut short, or keeps its data in another file', async () => {
    const cut = file('cut.qcow2');
    await createEncrypted(cut, 'luks', '1M');
    await encryptedIo(cut, 'luks', 'write -P 5 0 128k');
    await truncate(cut, (await stat(cut)).size - 50_000);
    await expectAsQemu(cut, 'luks');
    const external = file('external.qcow2');
    await createEncrypted(external, 'luks', '1M', [`data_file=${file('external.data')}`]);
    await encryptedIo(external, 'luks', 'write -P 5 100k 128k');
    await expectAsQemu(external, 'luks');
  });

  it('is read as of a snapshot', async () => {
    const path = file('snapshot.qcow2');
    await createEncrypted(path, 'luks', '1M');
    await encryptedIo(path, 'luks', 'write -P 5 0 128k');
    await encryptedSnapshot(path, 'luks', 'one');
    await encryptedIo(path, 'luks', 'write -P 6 64k 128k');
    await expectAsQemu(path, 'luks', 'one');
    await expectAsQemu(path, 'luks');
  });

  it('is read over an encrypted backing file, each asked for its key', async () => {
    await createEncrypted(file('base.qcow2'), 'aes', '1M');
    await encryptedIo(file('base.qcow2'), 'aes', 'write -P 5 0 128k');
    await createEncrypted(file('over.qcow2'), 'luks', '1M', [
      `backing_file=${file('base.qcow2')}`,
      'backing_fmt=qcow2',
    ]);
    const asked: string[] = [];
    const opened = await openImage(file('over.qcow2'), {
      key: async (path) => {
        asked.push(path);
        return KEY;
      },
    });
    const bytes = await readAll(opened.source);
    expect(bytes.subarray(0, 131072).every((byte) => byte === 5)).toBe(true);
    expect(bytes.subarray(131072).every((byte) => byte === 0)).toBe(true);
    expect(asked).toEqual([file('over.qcow2'), file('base.qcow2')]);
    await opened.source.close();
  });

  it('opens by any key slot, and says so when a key fits none', async () => {
    const path = file('slots.qcow2');
    await createEncrypted(path, 'luks', '1M');
    await addKey(path, 'second');
    const opened = await openImage(path, { key: Buffer.from('second') });
    await opened.source.close();
    await expect(openImage(path, { key: KEY, keySeconds: 1e-4 })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('LUKS key slot 0 asks for'),
    });
    for (const key of ['', 'correct hors', 'correct horse\n', 'Second']) {
      await expect(openImage(path, { key: Buffer.from(key) })).rejects.toMatchObject({
        code: 'WRONG_KEY',
        message: `${path}: the key opens none of its 2 LUKS key slots`,
      });
    }
  });

  it('is not opened without a key, but described', async () => {
    for (const format of ['luks', 'aes'] as const) {
      const path = file(`keyless-${format}.qcow2`);
      await createEncrypted(path, format, '1M');
      for (const key of [undefined, async () => undefined]) {
        await expect(openImage(path, { key })).rejects.toMatchObject({
          code: 'UNSUPPORTED',
          message: `${path}: is encrypted with ${format.toUpperCase()}: it can be read only with its key, which commit and compare take by --key-file FILE`,
        });
      }
      expect((await describeImage(path)).qcow2).toMatchObject({ encrypted: format, snapshotList: [] });
    }
  });

  it('takes no key for an image that is not encrypted', async () => {
    await qemuImg('create', '-q', '-f', 'qcow2', file('plain.qcow2'), '1M');
    const opened = await openImage(file('plain.qcow2'), { key: KEY });
    await opened.source.close();
    await writeFile(file('plain.raw'), noise(1024, 1));
    await expect(openImage(file('plain.raw'), { snapshot: 'x' })).rejects.toMatchObject({ code: 'USAGE' });
  });
});
