import { spawnSync } from 'node:child_process';
import { encodeOwner, thisProcess } from '../../files/index.ts';
import { type FolderNode, isFolder, type TreeNode } from './file-tree.ts';

/** The number of a process that has ended. */
const { pid: DEAD } = spawnSync(process.execPath, ['--version']);

/** Notes are short, and objects need not be searched. */
const MOST_NOTE_BYTES = 4096;

/** A tree in which the locks, announcements and temporary files of this process are those of one that was killed. */
export function asOfDeadProcess({ inode, entries }: FolderNode): FolderNode {
  const changed = new Map<string, TreeNode>();
  for (const [name, node] of entries)
    changed.set(
      deadName(name),
      isFolder(node) ? asOfDeadProcess(node) : { ...node, bytes: deadBytes(node.bytes) },
    );
  return { inode, entries: changed };
}

/** See `ownerSuffix`. */
function deadName(name: string): string {
  const { pid, started } = thisProcess();
  return name.replace(`-${pid}-${started}_`, `-${DEAD}-${started}_`);
}

function deadBytes(bytes: Buffer): Buffer {
  const own = encodeOwner(thisProcess());
  if (bytes.length > MOST_NOTE_BYTES || !bytes.includes(own)) return bytes;
  return Buffer.from(
    bytes.toString('latin1').replace(own, encodeOwner({ ...thisProcess(), pid: DEAD })),
    'latin1',
  );
}
