import { writeFile } from 'node:fs/promises';
import { beforeEach, expect, test } from 'vitest';
import { cryptsetupEncrypt, QUICK } from '../qcow2/crypto/cryptsetup.ts';
import { createLuksContainer, PASSWORD } from '../qcow2/crypto/qemu-encrypted.ts';
import { noise } from '../qcow2/qemu.ts';
import { oneLine, Workplace } from './imgstore.ts';

const DISK = noise(2 ** 20, 5);
const LUKS = ['--format', 'luks', '--key-file', 'key'] as const;

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.withStore();
  await writeFile(place.path('key'), `${PASSWORD}\n`);
  await writeFile(place.path('plain.raw'), DISK);
});

async function make(version: number): Promise<void> {
  if (version === 1) await createLuksContainer(place.path('secret.img'), DISK);
  else cryptsetupEncrypt(place.path('secret.img'), DISK, QUICK.argon2id);
}

test.each([1, 2])(
  'commit and compare read a LUKS%i container as the disk that its key shows',
  async (version) => {
    await make(version);
    const plain = await place.json('commit', 'plain.raw');
    const { stdout, stderr, status } = await place.run(
      'commit',
      'secret.img',
      ...LUKS,
      '--json',
      '--allow-empty',
    );
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: 'secret.img: is encrypted, but the store is not: it holds the disk as the key shows it\n',
    });
    expect(JSON.parse(stdout).disks[0].map).toBe(plain.disks[0].map);
    expect(place.git('cat-file', '-p', 'secret:image.json')).toContain('"format": "luks"');
    expect(await place.ok('compare', 'plain', 'secret.img', ...LUKS)).toBe('identical\n');
    const again = await place.json('commit', 'secret.img', ...LUKS);
    expect(again).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
    expect(await place.json('info', 'secret.img', '--format', 'luks')).toMatchObject({
      format: 'luks',
      virtualSize: DISK.length,
    });
  },
);

test('without --format a LUKS container is a raw disk, or is not guessed at', async () => {
  await make(1);
  const raw = await place.json('commit', 'secret.img');
  expect(raw.disks[0].virtualSize).toBeGreaterThan(DISK.length);
  await createLuksContainer(place.path('secret.luks'), DISK);
  const refused = await place.run('commit', 'secret.luks');
  expect(refused.status).toBe(1);
  expect(oneLine(refused)).toContain('is a LUKS container: pass --format luks');
});

test('a wrong key, no key and what is no container give one line', async () => {
  await make(2);
  await writeFile(place.path('wrong'), 'battery staple');
  for (const [args, text] of [
    [['secret.img', '--format', 'luks', '--key-file', 'wrong'], 'the key opens none of its 1 LUKS key slots'],
    [['secret.img', '--format', 'luks'], 'only with its key, which commit and compare take by --key-file'],
    [['plain.raw', ...LUKS], 'plain.raw: its encryption header has no LUKS magic'],
  ] as const) {
    const outcome = await place.run('commit', ...args);
    expect(outcome).toMatchObject({ status: 1, stdout: '' });
    expect(oneLine(outcome)).toContain(text);
  }
  expect(oneLine(await place.run('info', 'plain.raw', '--format', 'luks'))).toContain('no LUKS magic');
});
