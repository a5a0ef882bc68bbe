import { ImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../id.ts';
import { encodeTree, MODE_FILE, MODE_FOLDER, parseTree } from '../tree.ts';
import { FAN_OUT, SLOT_NAMES } from './geometry.ts';

/** A node of a cluster map: for each of its 256 slots the id of what is below, or undefined for zeros. */
export type MapNode = (ObjectId | undefined)[];

/** A node without entries. */
export function emptyNode(): MapNode {
  return new Array<ObjectId | undefined>(FAN_OUT).fill(undefined);
}

/**
 * Parses a node at `level` (1: entries are clusters, so files; above: folders).
 * @throws ImgstoreError `DAMAGED` when a name or a mode does not fit.
 */
export function parseNode(data: Uint8Array, level: number): MapNode {
  const mode = level === 1 ? MODE_FILE : MODE_FOLDER;
  const node = emptyNode();
  for (const entry of parseTree(data)) {
    const slot = SLOTS.get(entry.name);
    if (slot === undefined) throw damagedNode(`an entry '${entry.name}': names are 00 to ff`);
    if (entry.mode !== mode) throw damagedNode(`mode ${entry.mode} for '${entry.name}' at level ${level}`);
    node[slot] = entry.id;
  }
  return node;
}

/** A node's tree data. */
export function encodeNode(node: MapNode, level: number): Buffer {
  const mode = level === 1 ? MODE_FILE : MODE_FOLDER;
  return encodeTree(
    node.flatMap((id, slot) => (id === undefined ? [] : [{ mode, name: SLOT_NAMES[slot]!, id }])),
  );
}

const SLOTS: ReadonlyMap<string, number> = new Map(SLOT_NAMES.map((name, slot) => [name, slot]));

function damagedNode(reason: string): ImgstoreError {
  return new ImgstoreError('DAMAGED', `a cluster map has ${reason}`, { reason });
}
