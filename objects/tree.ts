import { isUtf8 } from 'node:buffer';
import { ImgstoreError } from '../errors/index.ts';
import { ID_BYTES, idFromBytes, type ObjectId } from './id.ts';

/** The modes that imgstore writes; git knows more, which are read and kept. */
export const MODE_FILE = '100644';
export const MODE_FOLDER = '40000';

/** One name in a tree. `mode` is octal without a leading zero, as stored. */
export interface TreeEntry {
  readonly mode: string;
  readonly name: string;
  readonly id: ObjectId;
}

const SPACE = 0x20;
/** What stands in a string for bytes that are not UTF-8. */
const REPLACEMENT = '\ufffd';

/** `<mode> <name>\0<32 bytes of id>` for each entry; the entries must be in {@link compareEntries} order. */
export function encodeTree(entries: readonly TreeEntry[]): Buffer {
  const heads = entries.map((entry) => Buffer.from(`${entry.mode} ${entry.name}\0`, 'utf8'));
  const bytes = Buffer.allocUnsafe(heads.reduce((sum, head) => sum + head.length + ID_BYTES, 0));
  let at = 0;
  entries.forEach((entry, i) => {
    at += (heads[i] as Buffer).copy(bytes, at);
    at += bytes.write(entry.id, at, 'hex');
  });
  return bytes;
}

/**
 * Parses a tree object's data.
 * @throws ImgstoreError `DAMAGED` when it is cut short, a mode or a name is not valid or comes twice, or the order is wrong;
 *   `UNSUPPORTED` for a name that is not UTF-8, which git allows
 */
export function parseTree(data: Uint8Array): TreeEntry[] {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  const entries: TreeEntry[] = [];
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(SPACE, at);
    const end = bytes.indexOf(0, at);
    if (space < 0 || end < space || end + 1 + ID_BYTES > bytes.length)
      throw damagedTree(`cut short at byte ${at}`);
    const mode = bytes.toString('latin1', at, space);
    const name = bytes.toString('utf8', space + 1, end);
    if (!/^[1-7][0-7]{4,5}$/.test(mode)) throw damagedTree(`mode '${mode}' at byte ${at}`);
    if (name === '' || name === '.' || name === '..' || name.includes('/'))
      throw damagedTree(`name '${name}' at byte ${at}`);
    if (name.includes(REPLACEMENT) && !isUtf8(bytes.subarray(space + 1, end)))
      throw new ImgstoreError('UNSUPPORTED', `a tree has a name that is not UTF-8: '${name}'`, { name });
    const entry = { mode, name, id: idFromBytes(bytes, end + 1) };
    const last = entries.at(-1);
    if (last !== undefined && compareEntries(last, entry) >= 0)
      throw damagedTree(`'${name}' is not in order`);
    entries.push(entry);
    at = end + 1 + ID_BYTES;
  }
  requireUnique(entries);
  return entries;
}

/** The order keeps two of one kind from having one name, but a file and a folder may stand apart. */
function requireUnique(entries: readonly TreeEntry[]): void {
  const folders = new Set(entries.filter(isFolder).map((entry) => entry.name));
  if (folders.size === 0 || folders.size === entries.length) return;
  const twice = entries.find((entry) => !isFolder(entry) && folders.has(entry.name));
  if (twice !== undefined) throw damagedTree(`'${twice.name}' is both a file and a folder`);
}

/** True when the entry is another tree. */
export function isFolder(entry: TreeEntry): boolean {
  return entry.mode === MODE_FOLDER;
}

/** git's order: bytewise, a folder as if its name ended in `/` (git: base_name_compare). */
export function compareEntries(a: TreeEntry, b: TreeEntry): number {
  const x = Buffer.from(isFolder(a) ? `${a.name}/` : a.name, 'utf8');
  const y = Buffer.from(isFolder(b) ? `${b.name}/` : b.name, 'utf8');
  return x.compare(y);
}

function damagedTree(reason: string): ImgstoreError {
  return new ImgstoreError('DAMAGED', `a tree is not valid: ${reason}`, { reason });
}
