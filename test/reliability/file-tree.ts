import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A file with its bytes, or a folder with its entries, and the inode that it has. */
export type TreeNode = FileNode | FolderNode;

export interface FileNode {
  readonly inode: number;
  /** Permission bits. */
  readonly mode: number;
  /** When it was written last, in seconds since 1970: an import takes it for the date of a version. */
  readonly writtenSeconds: number;
  readonly bytes: Buffer;
}

export interface FolderNode {
  readonly inode: number;
  readonly entries: ReadonlyMap<string, TreeNode>;
}

/** Caches, which can be deleted: LevelDB writes them, past all points. */
const CACHE = /\/imgstore\/(index|sketches)$/;

export function isFolder(node: TreeNode): node is FolderNode {
  return 'entries' in node;
}

/** Reads all below a folder, but for a store's caches. */
export function readTree(path: string): FolderNode {
  const entries = new Map<string, TreeNode>();
  for (const name of readdirSync(path).sort()) {
    const at = join(path, name);
    if (CACHE.test(at)) continue;
    const stats = lstatSync(at);
    if (stats.isDirectory()) entries.set(name, readTree(at));
    else
      entries.set(name, {
        inode: stats.ino,
        mode: stats.mode & 0o777,
        writtenSeconds: stats.mtimeMs / 1000,
        bytes: readFileSync(at),
      });
  }
  return { inode: lstatSync(path).ino, entries };
}

/** Makes a folder with all that is in a tree. */
export function writeTree(path: string, { entries }: FolderNode): void {
  mkdirSync(path, { recursive: true });
  for (const [name, node] of entries) {
    const at = join(path, name);
    if (isFolder(node)) {
      writeTree(at, node);
      continue;
    }
    writeFileSync(at, node.bytes, { mode: node.mode });
    utimesSync(at, node.writtenSeconds, node.writtenSeconds);
  }
}

/** Paths and bytes of the files, and the folders that are empty. */
export function* filesOf(
  { entries }: FolderNode,
  above = '',
): Generator<[path: string, bytes: Buffer | undefined]> {
  for (const [name, node] of entries) {
    const path = above + name;
    if (!isFolder(node)) yield [path, node.bytes];
    else if (node.entries.size === 0) yield [`${path}/`, undefined];
    else yield* filesOf(node, `${path}/`);
  }
}

/** What is chance in the names of temporary files. */
const CHANCE = /_[0-9a-f]{12,}$/;

/** Equal for trees that hold the same, whatever the temporary files are called. */
export function treeDigest(tree: FolderNode): string {
  const lines = [...filesOf(tree)].map(
    ([path, bytes]) => `${path.replace(CHANCE, '_')} ${bytes === undefined ? '' : digest(bytes)}`,
  );
  return digest(lines.sort().join('\n'));
}

function digest(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
