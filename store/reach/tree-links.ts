import { isImgstoreError } from '../../errors/index.ts';
import { ID_BYTES, idFromBytes, MODE_FOLDER, parseTree, type TreeEntry } from '../../objects/index.ts';

/** Mode of a submodule (git: gitlink): the commit is in another repository. */
const MODE_SUBMODULE = '160000';

const LINK_PATTERN = /^([0-7]{5,6}) ([\s\S]+)$/;

/** The entries of a tree that lead to objects of this store. Names that are not UTF-8, which git allows, come as Latin-1. @throws ImgstoreError `DAMAGED`. */
export function treeLinks(data: Uint8Array): TreeEntry[] {
  return entriesOf(data).filter(({ mode }) => mode !== MODE_SUBMODULE);
}

/** What kind of object an entry must name. */
export function linkKind({ mode }: TreeEntry): 'tree' | 'blob' {
  return mode === MODE_FOLDER ? 'tree' : 'blob';
}

function entriesOf(data: Uint8Array): TreeEntry[] {
  try {
    return parseTree(data);
  } catch (error) {
    if (!isImgstoreError(error, 'UNSUPPORTED')) throw error;
    return rawEntries(data);
  }
}

/** Of a tree whose frame is known to be valid. */
function rawEntries(data: Uint8Array): TreeEntry[] {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  const entries: TreeEntry[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at);
    const [, mode, name] = LINK_PATTERN.exec(bytes.toString('latin1', at, end)) ?? [];
    if (end < 0 || mode === undefined) break;
    entries.push({ mode, name: name!, id: idFromBytes(bytes, end + 1) });
    at = end + 1 + ID_BYTES;
  }
  return entries;
}
