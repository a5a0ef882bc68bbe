import { type FileHandle, open } from 'node:fs/promises';
import { fromSystem, ImgstoreError } from '../errors/index.ts';
import type { ImageKey } from '../qcow2/index.ts';
import { promptSecret } from './prompt.ts';

export const KEY_FILE_HELP = "a file with the key of encrypted images; '-' reads it from standard input";

/** More is a mistake: no key has as much. */
const MAX_KEY_BYTES = 64 * 1024;
const STANDARD_INPUT = '-';
const LINE_FEED = 0x0a;

/**
 * Where the key of encrypted images comes from: the file, or else a prompt where somebody can answer it. Nothing is
 * read or asked before an image needs it.
 */
export function imageKey(keyFile: string | undefined): ImageKey {
  if (keyFile === undefined) {
    return async (path) => (process.stdin.isTTY ? promptSecret(`Key of ${path}: `) : undefined);
  }
  let key: Promise<Uint8Array> | undefined;
  return () => {
    key ??= readKey(keyFile);
    return key;
  };
}

/** The bytes of a file, less one line end at their end, which editors and `echo` put there. */
async function readKey(keyFile: string): Promise<Uint8Array> {
  const name = keyFile === STANDARD_INPUT ? 'standard input' : keyFile;
  const bytes = await readBounded(keyFile, name);
  if (bytes.length > MAX_KEY_BYTES) {
    throw new ImgstoreError(
      'USAGE',
      `--key-file ${name}: has more than ${MAX_KEY_BYTES} bytes: is it a key?`,
    );
  }
  const key = bytes.at(-1) === LINE_FEED ? bytes.subarray(0, -1) : bytes;
  if (key.length === 0) throw new ImgstoreError('USAGE', `--key-file ${name}: has no key in it`);
  return key;
}

/** All of a file, or enough to see that it is too long. */
async function readBounded(keyFile: string, name: string): Promise<Buffer> {
  let file: FileHandle | undefined;
  try {
    if (keyFile !== STANDARD_INPUT) file = await open(keyFile);
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of file?.createReadStream({ autoClose: false }) ?? process.stdin) {
      parts.push(part as Buffer);
      length += (part as Buffer).length;
      if (length > MAX_KEY_BYTES + 1) break;
    }
    return Buffer.concat(parts);
  } catch (error) {
    throw fromSystem(error, `--key-file ${name}`);
  } finally {
    await file?.close();
  }
}
