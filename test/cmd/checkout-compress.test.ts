import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { qemuBytes, qemuCheck, qemuImg } from '../qcow2/qemu.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/cmd/main.js', import.meta.url));
const run = promisify(execFile);

it('checkout --compress writes compressed images, and refuses other types and raw files', async () => {
  const folder = await temporaryFolder();
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    GIT_AUTHOR_NAME: 'An Author',
    GIT_AUTHOR_EMAIL: 'author@example.org',
    GIT_COMMITTER_NAME: 'A Committer',
    GIT_COMMITTER_EMAIL: 'committer@example.org',
  };
  const imgstore = (...args: readonly string[]) =>
    run(process.execPath, [PROGRAM, ...args], { cwd: folder, env });
  const bytes = Buffer.alloc(300_032, 'some text ');
  await writeFile(join(folder, 'web.raw'), bytes);
  await imgstore('init');
  await imgstore('commit', 'web.raw');
  for (const type of ['zlib', 'zstd']) {
    const path = join(folder, `${type}.qcow2`);
    const { stdout } = await imgstore('--json', 'checkout', 'web', '-o', `${type}.qcow2`, '--compress', type);
    expect(JSON.parse(stdout)).toEqual({
      file: `${type}.qcow2`,
      format: 'qcow2',
      virtualSize: bytes.length,
      writtenBytes: bytes.length,
      backing: null,
      seconds: expect.any(Number),
    });
    await qemuCheck(path);
    expect((await qemuBytes(path)).equals(bytes)).toBe(true);
    expect(JSON.parse(await qemuImg('check', '--output=json', path))['compressed-clusters']).toBe(5);
  }
  for (const wrong of [
    ['--compress', 'lzma'],
    ['--compress', 'zlib', '--format', 'raw'],
  ]) {
    await expect(imgstore('checkout', 'web', '-o', 'x', ...wrong)).rejects.toMatchObject({ code: 2 });
  }
});
