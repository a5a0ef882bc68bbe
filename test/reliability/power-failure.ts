import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { PointName } from '../../files/index.ts';
import type { Random } from '../qcow2/differential/random.ts';
import { type FileNode, type FolderNode, isFolder, type TreeNode } from './file-tree.ts';

/** Which of the changes that were not fsynced have reached the disk. */
interface Survival {
  /** Whether a change to a folder's entry has. */
  readonly entry: () => boolean;
  /** The bytes of a file: `durable` are those that it had at its last fsync, undefined before the first. */
  readonly bytes: (durable: Buffer | undefined, written: Buffer) => Buffer;
}

const NOTHING: Survival = { entry: () => false, bytes: (durable) => durable ?? Buffer.alloc(0) };

/** Names are written before data, as file systems do that allocate late. */
const NAMES_ONLY: Survival = { entry: () => true, bytes: (durable) => durable ?? Buffer.alloc(0) };

const HALF_OF_DATA: Survival = {
  entry: () => true,
  bytes: (durable, written) => written.subarray(0, ((durable?.length ?? 0) + written.length) >> 1),
};

/** The length is there and the data is not. */
const ZEROS: Survival = {
  entry: () => true,
  bytes: (durable = Buffer.alloc(0), written) =>
    Buffer.concat([durable, Buffer.alloc(written.length)], written.length),
};

/** Each change by itself, by chance. */
function byChance(random: Random): Survival {
  const kinds = [
    NOTHING,
    HALF_OF_DATA,
    ZEROS,
    { ...NOTHING, bytes: (_: unknown, written: Buffer) => written },
  ];
  return {
    entry: () => random.once(2),
    bytes: (durable, written) => random.pick(kinds).bytes(durable, written),
  };
}

/**
 * What of a folder would outlive a failure of the power, by what was announced at points: an fsync of a file makes the bytes last that it has then, an fsync of a
 * folder its entries. All else is lost, or not, in any combination.
 */
export class DurableFolder {
  readonly #root: string;
  readonly #isAsWritten: (name: string) => boolean;
  readonly #entries = new Map<number, ReadonlyMap<string, number>>();
  readonly #nodes = new Map<number, TreeNode>();
  readonly #bytes = new Map<number, Buffer>();
  /** Files are held open, so that no inode is used for another file. */
  readonly #held = new Map<number, number>();

  /** @param tree of the folder, all of it durable @param isAsWritten of files that are fsynced past all points: they are never behind */
  constructor(root: string, tree: FolderNode, isAsWritten: (name: string) => boolean = () => false) {
    this.#root = root;
    this.#isAsWritten = isAsWritten;
    this.#see(tree, root);
    for (const node of this.#nodes.values()) this.#sync(node);
  }

  /** Takes note of what is about to happen. @param tree of the folder, before */
  pass(point: PointName, path: string, tree: FolderNode): void {
    this.#see(tree, this.#root);
    if (!point.endsWith('.fsync') && !point.endsWith('.fsync-folder')) return;
    const node = find(tree, path.slice(this.#root.length + 1));
    if (node !== undefined) this.#sync(node);
  }

  /** Some of what may be there after a failure of the power, or more of it. @param tree of the folder, now */
  afterFailure(tree: FolderNode, random: Random, more: boolean): FolderNode[] {
    this.#see(tree, this.#root);
    const others = more
      ? [NAMES_ONLY, HALF_OF_DATA, ZEROS, byChance(random), byChance(random)]
      : [random.once(2) ? NAMES_ONLY : byChance(random)];
    return [NOTHING, ...others].map((survival) => this.#folder(tree, survival));
  }

  close(): void {
    for (const fd of this.#held.values()) closeSync(fd);
  }

  #see(node: TreeNode, path: string): void {
    this.#nodes.set(node.inode, node);
    if (!this.#held.has(node.inode)) this.#held.set(node.inode, openSync(path, 'r'));
    if (isFolder(node)) for (const [name, child] of node.entries) this.#see(child, join(path, name));
  }

  #sync(node: TreeNode): void {
    if (!isFolder(node)) this.#bytes.set(node.inode, node.bytes);
    else this.#entries.set(node.inode, new Map([...node.entries].map(([name, { inode }]) => [name, inode])));
  }

  #folder({ inode, entries }: FolderNode, survival: Survival): FolderNode {
    const durable = this.#entries.get(inode) ?? new Map<string, number>();
    const left = new Map<string, TreeNode>();
    for (const name of [...new Set([...durable.keys(), ...entries.keys()])].sort()) {
      const written = entries.get(name);
      if (written !== undefined && this.#isAsWritten(name)) {
        left.set(name, written);
        continue;
      }
      const [before, now] = [durable.get(name), entries.get(name)];
      const node = before === now?.inode || survival.entry() ? now : this.#nodes.get(before ?? -1);
      if (node === undefined) continue;
      left.set(name, isFolder(node) ? this.#folder(node, survival) : this.#file(node, survival));
    }
    return { inode, entries: left };
  }

  #file(node: FileNode, survival: Survival): FileNode {
    const durable = this.#bytes.get(node.inode);
    return durable?.equals(node.bytes) ? node : { ...node, bytes: survival.bytes(durable, node.bytes) };
  }
}

function find(tree: FolderNode, path: string): TreeNode | undefined {
  let node: TreeNode | undefined = tree;
  for (const name of path === '' ? [] : path.split('/'))
    node = node !== undefined && isFolder(node) ? node.entries.get(name) : undefined;
  return node;
}
