import { type FileHandle, open } from 'node:fs/promises';
import { fromSystem, ImgstoreError } from '../../errors/index.ts';

export interface KeyFiles {
  /** Path of a file of age recipients, to which all is encrypted; those of the identities when there is none. */
  readonly recipientsFile?: string | undefined;
  /** Path of a file of age identities. */
  readonly identityFile?: string | undefined;
  /** Told of an identity file that others can read. */
  readonly onNotice?: ((notice: string) => void) | undefined;
}

/** A line of a file of recipients or identities that is neither empty nor a comment. */
export interface KeyLine {
  /** Without the spaces around it. */
  readonly text: string;
  /** For messages: `keys.txt:3`. Never shown together with the text, which may be a secret. */
  readonly where: string;
}

export interface KeyFile {
  readonly lines: readonly KeyLine[];
  /** Whether the mode of the file lets others than its owner read it. */
  readonly readableByOthers: boolean;
}

/** More is a mistake: a recipient has 62 characters, one that resists quantum computers 1959. */
const MAX_BYTES = 1024 * 1024;

const READABLE_BY_OTHERS = 0o044;

/** A file with one key a line, `#` before comments, as `age` and `age-keygen` have them. @throws ImgstoreError `USAGE`, `NOT_FOUND`, `IO`. */
export async function readKeyFile(path: string): Promise<KeyFile> {
  const { text, mode } = await readText(path);
  const lines = text
    .split('\n')
    .map((line, i) => ({ text: line.trim(), where: `${path}:${i + 1}` }))
    .filter((line) => line.text !== '' && !line.text.startsWith('#'));
  return { lines, readableByOthers: (mode & READABLE_BY_OTHERS) !== 0 };
}

async function readText(path: string): Promise<{ text: string; mode: number }> {
  let file: FileHandle | undefined;
  try {
    file = await open(path);
    const { mode } = await file.stat();
    const parts: Buffer[] = [];
    let length = 0;
    for await (const part of file.createReadStream({ autoClose: false })) {
      parts.push(part as Buffer);
      length += (part as Buffer).length;
      if (length > MAX_BYTES) {
        throw new ImgstoreError(
          'USAGE',
          `${path}: has more than ${MAX_BYTES} bytes: is it a file of age keys?`,
          {
            path,
          },
        );
      }
    }
    return { text: Buffer.concat(parts).toString('latin1'), mode };
  } catch (error) {
    throw fromSystem(error, path);
  } finally {
    await file?.close();
  }
}
