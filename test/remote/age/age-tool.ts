import { spawnSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type AgeKeys, openKeys } from '../../../remote/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';

/** Runs `age` or `age-keygen`; what it prints. */
export function age(command: 'age' | 'age-keygen', args: readonly string[], input?: Uint8Array): Buffer {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, maxBuffer: 2 ** 28 });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.toString()}`);
  return stdout;
}

export interface KeyPair {
  /** `AGE-SECRET-KEY-1…` */
  readonly secret: string;
  /** `age1…` */
  readonly recipient: string;
}

/** A key of `age-keygen`. */
export function newKeyPair(): KeyPair {
  const text = age('age-keygen', []).toString();
  const secret = /^AGE-SECRET-KEY-1\w+$/m.exec(text)![0];
  const recipient = /^# public key: (age1\w+)$/m.exec(text)![1]!;
  return { secret, recipient };
}

/** A file that only its owner can read, in a folder that goes away with the test. */
export async function keyFile(name: string, ...lines: readonly string[]): Promise<string> {
  const path = join(await temporaryFolder(), name);
  await writeFile(path, lines.map((line) => `${line}\n`).join(''));
  await chmod(path, 0o600);
  return path;
}

/** The keys of who holds the identities and encrypts to the recipients of all pairs. */
export async function keysOf(identities: readonly KeyPair[], recipients = identities): Promise<AgeKeys> {
  return openKeys({
    identityFile: await keyFile('key.txt', ...identities.map(({ secret }) => secret)),
    recipientsFile: await keyFile('recipients.txt', ...recipients.map(({ recipient }) => recipient)),
  });
}
