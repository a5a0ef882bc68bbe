import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { qemuImg } from '../qemu.ts';

const run = promisify(execFile);

/** The password of every encrypted image of the tests. */
export const PASSWORD = 'correct horse';
const SECRET = ['--object', `secret,id=key,data=${PASSWORD}`];

/** How QEMU opens an encrypted image. */
function opened(path: string, format: 'luks' | 'aes'): string {
  return `driver=qcow2,file.filename=${path},encrypt.format=${format},encrypt.key-secret=key`;
}

/** Makes an encrypted image, with more options of `qemu-img create -o`. */
export async function createEncrypted(
  path: string,
  format: 'luks' | 'aes',
  size: string,
  options: readonly string[] = [],
): Promise<void> {
  const all = [`encrypt.format=${format}`, 'encrypt.key-secret=key', ...options];
  // Few iterations: what is tested is that they are done, not that they take long.
  if (format === 'luks') all.push('encrypt.iter-time=10');
  await untilTimed('create', '-q', '-f', 'qcow2', ...SECRET, '-o', all.join(','), path, size);
}

/** Runs commands of qemu-io on an encrypted image. */
export async function encryptedIo(
  path: string,
  format: 'luks' | 'aes',
  ...commands: readonly string[]
): Promise<void> {
  const list = commands.flatMap((command) => ['-c', command]);
  const { stdout, stderr } = await run('qemu-io', [...SECRET, ...list, '--image-opts', opened(path, format)]);
  if (/failed|error/i.test(stdout + stderr)) throw new Error(stdout + stderr);
}

/** The bytes that QEMU sees in an encrypted image. */
export async function encryptedBytes(
  path: string,
  format: 'luks' | 'aes',
  snapshot?: string,
): Promise<Buffer> {
  const raw = `${path}.as-raw`;
  const of = snapshot === undefined ? [] : ['-l', snapshot];
  await qemuImg('convert', ...SECRET, ...of, '--image-opts', opened(path, format), '-O', 'raw', raw);
  const bytes = await readFile(raw);
  await rm(raw);
  return bytes;
}

/** Makes a raw LUKS container with QEMU that holds `plain`, which has whole sectors. */
export async function createLuksContainer(
  path: string,
  plain: Buffer,
  options: readonly string[] = [],
): Promise<void> {
  const disk = `${path}.plain`;
  await writeFile(disk, plain);
  const all = ['key-secret=key', 'iter-time=10', ...options].join(',');
  await untilTimed('create', '-q', '-f', 'luks', ...SECRET, '-o', all, path, String(plain.length));
  const target = `driver=luks,file.filename=${path},key-secret=key`;
  await qemuImg('convert', '-n', ...SECRET, '-f', 'raw', disk, '--target-image-opts', target);
  await rm(disk);
}

/** Takes an internal snapshot of an encrypted image. */
export async function encryptedSnapshot(path: string, format: 'luks' | 'aes', name: string): Promise<void> {
  await qemuImg('snapshot', ...SECRET, '--image-opts', '-c', name, opened(path, format));
}

/** Adds a LUKS key slot with another password. */
export async function addKey(path: string, password: string): Promise<void> {
  const added = ['--object', `secret,id=new,data=${password}`];
  const options = ['-o', 'encrypt.state=active,encrypt.new-secret=new,encrypt.iter-time=10'];
  await untilTimed('amend', ...SECRET, ...added, '--image-opts', opened(path, 'luks'), ...options);
}

/** QEMU times its key function for half a second, and fails when the clock says nothing of it. */
async function untilTimed(...args: readonly string[]): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await qemuImg(...args);
      return;
    } catch (error) {
      if (attempt === 50 || !String(error).includes('accurate CPU usage')) throw error;
    }
  }
}
