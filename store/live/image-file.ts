import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { usedByQemu } from '../../block/index.ts';
import { isImgstoreError, systemCode } from '../../errors/index.ts';
import { type OpenDisk, openDisk } from '../commit/open-disk.ts';
import { placeOf } from '../track/dirty.ts';
import type { BitmapPlace } from '../track/name.ts';
import type { SourceFacts } from '../version/image-json.ts';
import type { BlockNode } from './monitor.ts';

const NO_BITMAPS = 'only a qcow2 of version 1.1 with its data in itself has bitmaps that are kept';

/** The file of a disk of a running machine, looked at from here. */
export interface ImageFile {
  /** Its path, if that is a file of this machine that a QEMU has open. */
  readonly path: string | undefined;
  readonly facts: SourceFacts;
  /** Where its bitmaps are good; undefined when it cannot be kept track of. */
  readonly place: BitmapPlace | undefined;
  /** Why the disk cannot be kept track of, as a part of a line; undefined if it can. */
  readonly untracked: string | undefined;
}

/**
 * Looks at the file of a node: a bitmap is good only as long as the files below the image are as they were, which the
 * bitmap does not tell.
 * @param allowBacking folders into which backing files may lead
 */
export async function lookAtImage(
  node: Pick<BlockNode, 'file' | 'driver' | 'backing' | 'canTrack'>,
  allowBacking: readonly string[] | undefined,
): Promise<ImageFile> {
  const path = resolve(node.file);
  const none = { path: undefined, facts: { format: node.driver }, place: undefined };
  if (!(await isOpenInQemu(path)))
    return { ...none, untracked: 'its file is not here, by the name that QEMU has for it' };
  if (!node.canTrack) return { ...none, path, untracked: NO_BITMAPS };
  try {
    const disk = await openDisk(path, { format: 'qcow2', forceShare: true, allowBacking });
    await disk.source.close();
    const seen = { path, facts: disk.facts, place: await placeOf(disk) };
    if (!keepsBitmaps(disk)) return { ...seen, place: undefined, untracked: NO_BITMAPS };
    if (seen.place === undefined)
      return { ...seen, untracked: 'whether a file below it has changed does not show' };
    if (!(await areSame(disk.paths.slice(1), node.backing)))
      return { ...seen, untracked: 'the machine has it on another backing file than its header names' };
    return { ...seen, untracked: undefined };
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    return { ...none, path, untracked: error.message };
  }
}

function keepsBitmaps({ header }: OpenDisk): boolean {
  return header?.version === 3 && header.dataFile === undefined && !header.corrupt;
}

async function isOpenInQemu(path: string): Promise<boolean> {
  try {
    return (await usedByQemu(path)) !== undefined;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}

/** @param paths real ones @param names as QEMU has them */
async function areSame(paths: readonly string[], names: readonly string[]): Promise<boolean> {
  if (paths.length !== names.length) return false;
  for (const [i, name] of names.entries()) {
    const real = await realpath(name).catch(() => undefined);
    if (real !== paths[i]) return false;
  }
  return true;
}
