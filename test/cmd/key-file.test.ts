import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { beforeEach, expect, test } from 'vitest';
import { createEncrypted, encryptedBytes, encryptedIo, PASSWORD } from '../qcow2/crypto/qemu-encrypted.ts';
import { oneLine, PROGRAM, Workplace } from './imgstore.ts';

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.withStore();
  await writeFile(place.path('key'), `${PASSWORD}\n`);
});

async function makeEncrypted(name: string, format: 'luks' | 'aes'): Promise<void> {
  await createEncrypted(place.path(name), format, '1M');
  await encryptedIo(place.path(name), format, 'write -P 1 0 200k', 'write -P 2 700k 3k');
}

/** A run that gets `input` on its standard input. */
function runWith(input: string, ...args: readonly string[]) {
  const options = { cwd: place.folder, env: place.environment, input, encoding: 'utf8' } as const;
  return spawnSync(process.execPath, [PROGRAM, ...args], options);
}

test.each(['luks', 'aes'] as const)(
  'commit reads a %s image with its key as its decrypted disk',
  async (format) => {
    await makeEncrypted('enc.qcow2', format);
    await writeFile(place.path('plain.raw'), await encryptedBytes(place.path('enc.qcow2'), format));
    const { stdout, stderr, status } = await place.run('commit', 'enc.qcow2', '--key-file', 'key', '--json');
    expect(status).toBe(0);
    expect(stderr).toContain('enc.qcow2: is encrypted, but the store is not');
    const encrypted = JSON.parse(stdout);
    const plain = await place.json('commit', 'plain.raw', '--allow-empty');
    expect(encrypted.disks[0].map).toBe(plain.disks[0].map);
    expect(place.git('rev-parse', 'enc:disks/vda')).toBe(place.git('rev-parse', 'plain:disks/vda'));
    for (const name of ['enc', 'plain']) {
      expect(await place.ok('compare', name, 'enc.qcow2', '--key-file', 'key')).toBe('identical\n');
    }
    const piped = runWith(`${PASSWORD}\n`, 'compare', 'enc', 'enc.qcow2', '--key-file', '-');
    expect(piped).toMatchObject({ status: 0, stdout: 'identical\n' });
    expect(place.git('cat-file', '-p', 'enc:image.json')).not.toContain(PASSWORD);
  },
);

test('a wrong key, a missing or an empty key file is one clear line', async () => {
  await makeEncrypted('enc.qcow2', 'luks');
  await writeFile(place.path('wrong'), 'battery staple\n');
  await writeFile(place.path('empty'), '\n');
  await writeFile(place.path('huge'), Buffer.alloc(70_000, 1));
  for (const [keyFile, status, text] of [
    ['wrong', 1, 'enc.qcow2: the key opens none of its 1 LUKS key slots'],
    ['missing', 1, '--key-file missing: no such file or folder'],
    ['empty', 2, '--key-file empty: has no key in it'],
    ['huge', 2, '--key-file huge: has more than 65536 bytes'],
  ] as const) {
    const outcome = await place.run('commit', 'enc.qcow2', '--key-file', keyFile);
    expect(outcome).toMatchObject({ status, stdout: '' });
    expect(oneLine(outcome)).toContain(text);
    expect(outcome.stderr).not.toContain('staple');
  }
  const json = await place.run('commit', 'enc.qcow2', '--key-file', 'wrong', '--json');
  expect(JSON.parse(json.stdout)).toMatchObject({ error: { code: 'WRONG_KEY' } });
});

test('without a key and a terminal the error says how to give one', async () => {
  await makeEncrypted('enc.qcow2', 'luks');
  const outcome = await place.run('commit', 'enc.qcow2');
  expect(outcome).toMatchObject({ status: 1, stdout: '' });
  expect(oneLine(outcome)).toContain('--key-file');
});

test('an image whose key cannot be checked is read anew with another key', async () => {
  await makeEncrypted('enc.qcow2', 'aes');
  await writeFile(place.path('wrong'), 'battery staple');
  const noise = await place.json('commit', 'enc.qcow2', '--key-file', 'wrong');
  const right = await place.json('commit', 'enc.qcow2', '--key-file', 'key');
  expect(right.unchanged).toBe(false);
  expect(right.disks[0].map).not.toBe(noise.disks[0].map);
});

test('on a terminal the key is asked for and not shown', async () => {
  await makeEncrypted('enc.qcow2', 'luks');
  const run = `${process.execPath} ${PROGRAM} commit enc.qcow2`;
  // script(1) gives the program a terminal, on which it types what it reads.
  const { status, stdout } = spawnSync('script', ['-qec', run, 'typed'], {
    cwd: place.folder,
    env: place.environment,
    input: `${PASSWORD}\r`,
    encoding: 'utf8',
  });
  expect(stdout).toContain('Key of enc.qcow2: ');
  expect({ status, stdout }).toMatchObject({ status: 0 });
  expect((await readFile(place.path('typed'), 'utf8')).split('Key of enc.qcow2: ')[1]).not.toContain(
    PASSWORD,
  );
});
