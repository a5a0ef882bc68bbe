import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { PASSWORD } from './qemu-encrypted.ts';

const MIB = 2 ** 20;
/** What a header with its key material takes by default, in bytes. */
const HEADER_BYTES = { 1: 2 * MIB, 2: 16 * MIB } as const;

/** Derivations that take a moment: what is tested is that they are done. */
export const QUICK = {
  pbkdf2: ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000'],
  argon2id: argon2('argon2id', 2),
  argon2i: argon2('argon2i', 3),
} as const;

function argon2(type: string, lanes: number): readonly string[] {
  const costs = ['--pbkdf-memory', '2048', '--pbkdf-force-iterations', '4'];
  return ['--pbkdf', type, '--pbkdf-parallel', String(lanes), ...costs];
}

function cryptsetup(args: readonly string[], input: string = PASSWORD): void {
  execFileSync('cryptsetup', ['--batch-mode', ...args], { input, stdio: ['pipe', 'pipe', 'pipe'] });
}

/** The header and key slots that cryptsetup makes, without the disk behind them; they stay in `path`. */
export function cryptsetupHeader(path: string, version: 1 | 2, options: readonly string[]): Buffer {
  writeFileSync(path, '');
  truncateSync(path, HEADER_BYTES[version] + 4 * MIB);
  cryptsetup(['luksFormat', '--type', `luks${version}`, ...options, '--key-file=-', path]);
  return readFileSync(path).subarray(0, HEADER_BYTES[version]);
}

/** Adds a key slot for another password. */
export function cryptsetupAddKey(path: string, password: string, options: readonly string[]): void {
  const secret = `${path}.new-key`;
  writeFileSync(secret, password);
  cryptsetup(['luksAddKey', ...options, '--key-file=-', path, secret]);
}

/** Runs another command of cryptsetup that needs the password. */
export function cryptsetupRun(...args: readonly string[]): void {
  cryptsetup([...args, '--key-file=-']);
}

/** The key of the disk itself. */
export function volumeKey(path: string): Buffer {
  const out = `${path}.volume-key`;
  rmSync(out, { force: true });
  cryptsetup(['luksDump', '--dump-volume-key', '--volume-key-file', out, '--key-file=-', path]);
  return readFileSync(out);
}

/**
 * Makes a LUKS2 container whose disk begins with `plain` and goes on with zeros to a whole MiB: cryptsetup encrypts it
 * itself, which needs no device mapper.
 */
export function cryptsetupEncrypt(path: string, plain: Buffer, options: readonly string[]): Buffer {
  const disk = Buffer.alloc(Math.ceil(plain.length / MIB) * MIB);
  plain.copy(disk);
  writeFileSync(path, disk);
  // It moves the disk up by half of what the device is to be smaller by.
  truncateSync(path, disk.length + 2 * HEADER_BYTES[2]);
  const offline = ['--force-offline-reencrypt', '--reduce-device-size', '32M'];
  cryptsetupRun('reencrypt', '--encrypt', '--type', 'luks2', ...offline, ...options, path);
  truncateSync(path, HEADER_BYTES[2] + disk.length);
  return disk;
}
