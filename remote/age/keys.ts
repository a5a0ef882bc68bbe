import { Decrypter, Encrypter } from 'age-encryption';
import { ImgstoreError } from '../../errors/index.ts';
import { MAX_HEADER } from './header.ts';
import { type Identities, readIdentities } from './identities.ts';
import type { KeyFiles } from './key-file.ts';
import { NONCE, storedSize } from './payload.ts';
import { readRecipients, requireOneKind } from './recipients.ts';

/** What a new file is encrypted with. */
export interface NewHeader {
  readonly header: Uint8Array;
  /** 16 random bytes. */
  readonly fileKey: Uint8Array;
}

/** Thrown inside of the package when no identity has opened a file: its own error tells it from others by words only. */
class NobodyMatched extends Error {}

/** The keys of an encrypted bucket: recipients to encrypt to, identities to decrypt with. */
export class AgeKeys {
  readonly identityFile: string;
  readonly #recipients: readonly string[];
  readonly #decrypter = new Decrypter();

  constructor(recipients: readonly string[], identities: Identities) {
    this.identityFile = identities.path;
    this.#recipients = recipients;
    for (const secret of identities.secrets) this.#decrypter.addIdentity(secret);
    this.#decrypter.addIdentity({
      unwrapFileKey: () => {
        throw new NobodyMatched();
      },
    });
  }

  /** The header of a new file, to all recipients, with its key: 2 ms for one recipient. */
  async newHeader(): Promise<NewHeader> {
    let fileKey = new Uint8Array();
    const encrypter = new Encrypter();
    for (const recipient of this.#recipients) encrypter.addRecipient(recipient);
    // The package hands out the key that it draws only to recipients, so here is one more, without a stanza of its own.
    encrypter.addRecipient({
      wrapFileKey: (key) => {
        fileKey = Uint8Array.from(key);
        return [];
      },
    });
    const empty = await encrypter.encrypt(new Uint8Array());
    return { header: empty.subarray(0, empty.length - NONCE - storedSize(0)), fileKey };
  }

  /**
   * The file key in a header, some 1 ms; undefined when it is to none of the identities.
   * @throws Error when the header is no valid one, or its MAC is wrong.
   */
  async fileKey(header: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      return await this.#decrypter.decryptHeader(header);
    } catch (error) {
      if (error instanceof NobodyMatched) return undefined;
      throw error;
    }
  }
}

/**
 * Reads the keys of an encrypted bucket from files in age's formats.
 * @throws ImgstoreError `USAGE` for a bad line, which is named and not shown, and for keys that could not read what they write;
 *   `NOT_FOUND`, `IO`.
 */
export async function readKeys({ recipientsFile, identityFile, onNotice }: KeyFiles): Promise<AgeKeys> {
  if (identityFile === undefined) {
    throw new ImgstoreError(
      'USAGE',
      `${recipientsFile ?? 'encryption'}: an encrypted bucket needs a file of age identities too, as the names in it depend on a secret in it: age-keygen -o key.txt makes one`,
    );
  }
  const identities = await readIdentities(identityFile, onNotice);
  const recipients = await recipientsFor(identities, recipientsFile);
  const keys = new AgeKeys(recipients, identities);
  await requireUsable(keys, recipientsFile ?? identityFile);
  return keys;
}

async function recipientsFor(identities: Identities, recipientsFile?: string): Promise<readonly string[]> {
  if (recipientsFile === undefined) {
    requireOneKind(identities.recipients, identities.path);
    return [...new Set(identities.recipients)];
  }
  const recipients = await readRecipients(recipientsFile);
  if (recipients.some((recipient) => identities.recipients.includes(recipient))) return recipients;
  throw new ImgstoreError(
    'USAGE',
    `${recipientsFile}: has none of the recipients of ${identities.path}, so what is encrypted to it could not be read again: add ${identities.recipients[0]}`,
    { recipientsFile, identityFile: identities.path },
  );
}

/** Some keys are seen to be bad only when something is encrypted to them. */
async function requireUsable(keys: AgeKeys, path: string): Promise<void> {
  let bytes: number;
  try {
    bytes = (await keys.newHeader()).header.length;
  } catch (error) {
    const why =
      'has a recipient to which nothing can be encrypted: compare its lines with what age-keygen -y prints';
    throw new ImgstoreError('USAGE', `${path}: ${why}`, { path }, error);
  }
  if (bytes <= MAX_HEADER) return;
  throw new ImgstoreError(
    'USAGE',
    `${path}: has too many recipients: headers would have ${bytes} bytes, more than ${MAX_HEADER}`,
    { path },
  );
}
