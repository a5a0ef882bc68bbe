import { Encrypter } from 'age-encryption';
import { ImgstoreError } from '../../errors/index.ts';
import { type KeyLine, readKeyFile } from './key-file.ts';

/** What recipients that resist quantum computers begin with. */
const POST_QUANTUM = /^age1(pq|tagpq)1/;

/**
 * The recipients of a file as `age -R` takes it: `age1…`, one a line.
 * @throws ImgstoreError `USAGE`, `NOT_FOUND`, `IO`.
 */
export async function readRecipients(path: string): Promise<readonly string[]> {
  const { lines } = await readKeyFile(path);
  for (const line of lines) requireRecipient(line);
  const recipients = [...new Set(lines.map(({ text }) => text))];
  if (recipients.length === 0) {
    throw new ImgstoreError(
      'USAGE',
      `${path}: has no recipient in it: age-keygen -y prints that of an identity`,
      {
        path,
      },
    );
  }
  requireOneKind(recipients, path);
  return recipients;
}

/** As age does: what one recipient reads that does not resist quantum computers need not resist for the others. @throws ImgstoreError `USAGE`. */
export function requireOneKind(recipients: readonly string[], path: string): void {
  const resisting = recipients.filter((recipient) => POST_QUANTUM.test(recipient)).length;
  if (resisting === 0 || resisting === recipients.length) return;
  throw new ImgstoreError(
    'USAGE',
    `${path}: has recipients with and without protection from quantum computers (age1pq1…), of which age allows only one kind: remove one kind`,
    { path },
  );
}

function requireRecipient({ text, where }: KeyLine): void {
  if (/^AGE-SECRET-KEY-/i.test(text)) {
    throw new ImgstoreError(
      'USAGE',
      `${where}: is a secret key, no recipient: age-keygen -y prints its recipient`,
    );
  }
  if (/^(ssh-|ecdsa-|github:)/.test(text)) {
    throw new ImgstoreError(
      'USAGE',
      `${where}: SSH keys as recipients are not supported: use one of age-keygen`,
    );
  }
  try {
    new Encrypter().addRecipient(text);
  } catch {
    throw new ImgstoreError(
      'USAGE',
      `${where}: is no age recipient, has a typing error, or is of a plugin: age-keygen -y prints one, age1…`,
    );
  }
}
