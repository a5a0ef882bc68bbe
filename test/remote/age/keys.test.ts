import { chmod } from 'node:fs/promises';
import { inspect } from 'node:util';
import { generateHybridIdentity, identityToRecipient } from 'age-encryption';
import { expect, test } from 'vitest';
import { encryptedBucket, openKeys } from '../../../remote/index.ts';
import { age, keyFile, keysOf, newKeyPair } from './age-tool.ts';
import { PlainBucket } from './plain-bucket.ts';

const pair = newKeyPair();
const typingError = pair.secret.replace(/.$/, (last) => (last === 'Q' ? 'P' : 'Q'));

test('openKeys takes files as age-keygen writes them, with comments, empty lines and line ends of Windows', async () => {
  const written = age('age-keygen', []).toString();
  const identityFile = await keyFile('key.txt', ...written.split('\n'), `  ${pair.secret}\r`, '\r');
  const recipientsFile = await keyFile('recipients.txt', '# mine\r', '', `${pair.recipient}\r`);
  await expect(openKeys({ identityFile, recipientsFile })).resolves.toBeDefined();
});

test.each([
  ['a typing error', typingError, /^\S+key\.txt:3: is no age identity, or has a typing error/],
  ['a word', 'secret-word', /key\.txt:3: is no age identity/],
  ['a key cut short', pair.secret.slice(0, 40), /key\.txt:3: is no age identity/],
  ['a recipient', pair.recipient, /key\.txt:3: is a recipient/],
  ['an identity of a plugin', 'AGE-PLUGIN-YUBIKEY-1QQQQQQ', /key\.txt:3: is an identity of a plugin/],
  ['an SSH key', '-----BEGIN OPENSSH PRIVATE KEY-----', /key\.txt:3: holds an SSH key/],
  ['an encrypted file', 'age-encryption.org/v1', /key\.txt:3: is protected by a passphrase/],
  ['an armored file', '-----BEGIN AGE ENCRYPTED FILE-----', /key\.txt:3: is protected by a passphrase/],
])(
  'openKeys names the line of an identity file that has %s, and does not show it',
  async (_, line, message) => {
    const identityFile = await keyFile('key.txt', '# comment', pair.secret, line);
    const error = await openKeys({ identityFile }).catch((reason: unknown) => reason as Error);
    expect(error).toMatchObject({ code: 'USAGE', message: expect.stringMatching(message) });
    const shown = inspect(error, { depth: 9, showHidden: true });
    for (const secret of [pair.secret, line])
      if (!/^(age|-----)/.test(secret)) expect(shown).not.toContain(secret);
    expect((error as Error).message).not.toContain('\n');
  },
);

test.each([
  [
    'a typing error',
    pair.recipient.replace(/.$/, (last) => (last === 'q' ? 'p' : 'q')),
    /recipients\.txt:2: is no age recipient/,
  ],
  ['a word', 'somebody', /recipients\.txt:2: is no age recipient/],
  ['a recipient of a plugin', 'age1yubikey1qqqqqqqq', /recipients\.txt:2: is no age recipient/],
  ['an SSH key', 'ssh-ed25519 AAAA', /recipients\.txt:2: SSH keys/],
  ['a secret key', pair.secret, /recipients\.txt:2: is a secret key/],
])('openKeys names the line of a file of recipients that has %s', async (_, line, message) => {
  const identityFile = await keyFile('key.txt', pair.secret);
  const recipientsFile = await keyFile('recipients.txt', pair.recipient, line);
  const error = await openKeys({ identityFile, recipientsFile }).catch((reason: unknown) => reason as Error);
  expect(error).toMatchObject({ code: 'USAGE', message: expect.stringMatching(message) });
  expect(inspect(error, { depth: 9 })).not.toContain(pair.secret);
});

test('openKeys refuses files without a key, files that are too long, and files that are not there', async () => {
  const empty = await keyFile('empty.txt', '# nothing', '');
  const identityFile = await keyFile('key.txt', pair.secret);
  await expect(openKeys({ identityFile: empty })).rejects.toThrow(/empty\.txt: has no identity/);
  await expect(openKeys({ identityFile, recipientsFile: empty })).rejects.toThrow(
    /empty\.txt: has no recipient/,
  );
  await expect(openKeys({ identityFile: `${empty}.gone` })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(openKeys({ identityFile: '/' })).rejects.toMatchObject({ code: 'IO' });
  const long = await keyFile('long.txt', ...Array<string>(20_000).fill(pair.recipient));
  await expect(openKeys({ identityFile, recipientsFile: long })).rejects.toThrow(/long\.txt: has more than/);
});

test('openKeys refuses more recipients than a header has room for', async () => {
  const others = await Promise.all(
    Array.from({ length: 50 }, async () => identityToRecipient(await generateHybridIdentity())),
  );
  const hybrid = await generateHybridIdentity();
  const many = await keyFile('many.txt', await identityToRecipient(hybrid), ...others);
  const own = await keyFile('hybrid.txt', hybrid);
  await expect(openKeys({ identityFile: own, recipientsFile: many })).rejects.toThrow(
    /many\.txt: has too many/,
  );
});

test('openKeys refuses recipients of which some only resist quantum computers, as age does', async () => {
  const hybrid = await generateHybridIdentity();
  const identityFile = await keyFile('key.txt', pair.secret);
  const mixed = await keyFile('mixed.txt', pair.recipient, await identityToRecipient(hybrid));
  await expect(openKeys({ identityFile, recipientsFile: mixed })).rejects.toThrow(
    /mixed\.txt: .*only one kind/,
  );
  const both = await keyFile('both.txt', pair.secret, hybrid);
  await expect(openKeys({ identityFile: both })).rejects.toThrow(/both\.txt: .*only one kind/);
});

test('openKeys refuses recipients of which no identity is one, and names what to add', async () => {
  const identityFile = await keyFile('key.txt', pair.secret);
  const recipientsFile = await keyFile('recipients.txt', newKeyPair().recipient);
  await expect(openKeys({ identityFile, recipientsFile })).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining(`add ${pair.recipient}`),
  });
});

test('openKeys asks for a file of identities when there is none', async () => {
  const recipientsFile = await keyFile('recipients.txt', pair.recipient);
  await expect(openKeys({ recipientsFile })).rejects.toMatchObject({ code: 'USAGE' });
  await expect(openKeys({})).rejects.toMatchObject({ code: 'USAGE' });
});

test('openKeys tells of an identity file that others can read, and not of one that they cannot', async () => {
  const identityFile = await keyFile('key.txt', pair.secret);
  const notices: string[] = [];
  const onNotice = (notice: string) => notices.push(notice);
  await openKeys({ identityFile, onNotice });
  expect(notices).toEqual([]);
  for (const mode of [0o604, 0o640]) {
    await chmod(identityFile, mode);
    await openKeys({ identityFile, onNotice });
    expect(notices.pop()).toBe(`${identityFile}: others can read this secret key: chmod 600 ends that`);
  }
});

test('openKeys takes identities that resist quantum computers', async () => {
  const identityFile = await keyFile('key.txt', await generateHybridIdentity());
  const bucket = await encryptedBucket(new PlainBucket(), await openKeys({ identityFile }));
  await bucket.put('states/1', Buffer.from('text'));
  expect(Buffer.from(await bucket.get('states/1', { offset: 1, length: 2 })).toString()).toBe('ex');
});

test('keys show nothing of their secrets when they are printed', async () => {
  expect(inspect(await keysOf([pair]), { depth: 9, showHidden: true })).not.toContain(pair.secret.slice(20));
});
