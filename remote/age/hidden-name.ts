import { createHmac } from 'node:crypto';

/** Folders in which names say what the content is. */
const HIDDEN_FOLDERS = ['packs/', 'checkpoints/'];

/** A name below one of them that is hidden. The `h` tells it from the hash of a pack, which has as many digits. */
const HIDDEN = /^[a-z]+\/h[0-9a-f]{64}(\.[a-z]+)?$/;

/** The folder of a name in which names are hidden; undefined for a name that stays as it is. */
export function hiddenFolder(name: string): string | undefined {
  const folder = HIDDEN_FOLDERS.find((folder) => name.startsWith(folder) && name.length > folder.length);
  return folder === undefined || HIDDEN.test(name) ? undefined : folder;
}

/** The name under which an object lies in an encrypted bucket: HMAC-SHA256 of its own by the secret of the bucket, where names are hidden. */
export function hiddenName(secret: Uint8Array, name: string): string {
  const folder = hiddenFolder(name);
  if (folder === undefined) return name;
  const ending = /\.[a-z]+$/.exec(name)?.[0] ?? '';
  return `${folder}h${createHmac('sha256', secret).update(name).digest('hex')}${ending}`;
}
