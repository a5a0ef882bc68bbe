import { Decrypter, identityToRecipient } from 'age-encryption';
import { ImgstoreError } from '../../errors/index.ts';
import { type KeyLine, readKeyFile } from './key-file.ts';

/** What a user decrypts with. */
export interface Identities {
  /** The file they come from. */
  readonly path: string;
  /** `AGE-SECRET-KEY-…`: secrets, for no message. */
  readonly secrets: readonly string[];
  /** The recipient of each: `age1…`. */
  readonly recipients: readonly string[];
}

/** What files that hold secrets of other kinds begin with, and what to do about them. */
const OTHER_KINDS: readonly (readonly [RegExp, string])[] = [
  [
    /^(age-encryption\.org\/|-----BEGIN AGE ENCRYPTED FILE)/,
    'is protected by a passphrase: decrypt it with age -d into a file that only you can read',
  ],
  [/^-----BEGIN /, 'holds an SSH key, which is not supported: make an identity with age-keygen'],
  [/^AGE-PLUGIN-/, 'is an identity of a plugin, which is not supported: make one with age-keygen'],
  [/^age1/, 'is a recipient, no identity: name the file with the secret key'],
];

/**
 * The identities of a file as `age-keygen` makes it: `AGE-SECRET-KEY-1…` or `AGE-SECRET-KEY-PQ-1…`, one a line.
 * @throws ImgstoreError `USAGE`, `NOT_FOUND`, `IO`.
 */
export async function readIdentities(
  path: string,
  onNotice: (notice: string) => void = () => {},
): Promise<Identities> {
  const { lines, readableByOthers } = await readKeyFile(path);
  const recipients: string[] = [];
  for (const line of lines) recipients.push(await recipientOf(line));
  if (recipients.length === 0) {
    throw new ImgstoreError('USAGE', `${path}: has no identity in it: make one with age-keygen`, { path });
  }
  if (readableByOthers) onNotice(`${path}: others can read this secret key: chmod 600 ends that`);
  return { path, secrets: lines.map(({ text }) => text), recipients };
}

async function recipientOf({ text, where }: KeyLine): Promise<string> {
  const other = OTHER_KINDS.find(([form]) => form.test(text));
  if (other !== undefined) throw new ImgstoreError('USAGE', `${where}: ${other[1]}`);
  try {
    new Decrypter().addIdentity(text);
    return await identityToRecipient(text);
  } catch {
    // The package's messages quote the line, and so the secret.
    throw new ImgstoreError(
      'USAGE',
      `${where}: is no age identity, or has a typing error: a line of age-keygen begins with AGE-SECRET-KEY-1`,
    );
  }
}
