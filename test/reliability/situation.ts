import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Store } from '../../store/index.ts';
import { qemuBytes } from '../qcow2/qemu.ts';
import { gitFsck } from '../store/git.ts';
import { type FolderNode, filesOf, isFolder } from './file-tree.ts';
import { hasLeaksOnly } from './in-place-targets.ts';
import { runHere } from './run-here.ts';
import { digestOf } from './sample-history.ts';
import type { ChangedImage } from './verbs.ts';

/** What there is in a folder with a store that a user would miss. */
export interface Situation {
  /** Ids by name of ref. */
  readonly refs: ReadonlyMap<string, string>;
  /** Digests of the files beside the store. */
  readonly files: ReadonlyMap<string, string>;
  /** Whether there is a second store, `fresh/.imgstore`. */
  readonly second: boolean;
}

const STORE = '.imgstore';
const SECOND = join('fresh', STORE);
/** Temporary names, locks, and announcements of work. */
export const UNFINISHED = /tmp[-_]|\.lock$|\/work\/./;

/** Looks at a folder. @param changes an image of which only counts what a guest sees @throws when git finds anything wrong with a store in it, or a ref that cannot be read */
export async function situationOf(
  folder: string,
  tree: FolderNode,
  changes?: ChangedImage,
): Promise<Situation> {
  const second = existsSync(join(folder, SECOND));
  for (const store of second ? [STORE, SECOND] : [STORE]) {
    await gitFsck(join(folder, store));
    await ownFsck(folder, store);
  }
  const files = filesBeside(tree);
  if (changes !== undefined && files.has(changes.file))
    files.set(changes.file, await guestDigest(join(folder, changes.file)));
  return { refs: await refsOf(folder), files, second };
}

async function ownFsck(folder: string, store: string): Promise<void> {
  const { status, stdout, stderr } = await runHere(folder, 'fsck', '--store', store, '--json');
  if (status !== 0) throw new Error(`imgstore fsck: exit code ${status}: ${stderr}${stdout}`);
}

/** Digest of what a guest sees in an image, if QEMU finds nothing wrong with it but leaks. */
async function guestDigest(image: string): Promise<string> {
  try {
    await hasLeaksOnly(image);
    return digestOf(await qemuBytes(image));
  } catch (error) {
    return `damaged: ${String(error)}`;
  }
}

async function refsOf(folder: string): Promise<Map<string, string>> {
  const store = await Store.open(folder);
  try {
    const { refs, unreadable } = await store.refs.survey();
    if (unreadable.length > 0) throw unreadable[0]!.fault;
    return new Map(refs.map(({ name, id }) => [name, id]));
  } finally {
    store.close();
  }
}

function filesBeside(tree: FolderNode): Map<string, string> {
  const beside = new Map([...tree.entries].filter(([, node]) => !isFolder(node)));
  const digests = new Map<string, string>();
  for (const [path, bytes] of filesOf({ inode: 0, entries: beside }))
    if (bytes !== undefined && !UNFINISHED.test(path)) digests.set(path, digestOf(bytes));
  return digests;
}

/** How a verb goes from one situation to another. */
export interface Course {
  readonly before: Situation;
  readonly after: Situation;
  /** Ids that refs may have on the way. */
  readonly between: ReadonlySet<string>;
  /** What it changes where it is. */
  readonly changes: ChangedImage | undefined;
}

/** What cannot have come of going from one situation to another, however far. */
export function strangeness(
  now: Situation,
  { before, after, between, changes }: Course,
  powerFailed: boolean,
): string[] {
  const strange: string[] = [];
  for (const name of new Set([...before.refs.keys(), ...after.refs.keys(), ...now.refs.keys()])) {
    const id = now.refs.get(name);
    const standsIn = /-renamed$/.test(name) && id !== undefined;
    const isBetween = id !== undefined && between.has(id);
    if (id !== before.refs.get(name) && id !== after.refs.get(name) && !standsIn && !isBetween)
      strange.push(`${name} is at ${id}`);
  }
  const held = new Set(now.refs.values());
  for (const id of before.refs.values())
    if (!held.has(id) && [...after.refs.values()].includes(id)) strange.push(`no ref leads to ${id}`);
  if (powerFailed) return strange;
  for (const path of new Set([...before.files.keys(), ...now.files.keys()])) {
    if (path === changes?.file && changes.hasOtherBytes) continue;
    const digest = now.files.get(path);
    if (digest !== before.files.get(path) && digest !== after.files.get(path))
      strange.push(`${path} is partial`);
  }
  return strange;
}

/** What of a situation is not as in another. */
export function differences(now: Situation, wanted: Situation): string[] {
  const lines = ({ refs, files, second }: Situation) => [
    ...[...refs].map((each) => each.join(' ')),
    ...[...files].map((each) => each.join(' ')),
    `second store: ${second}`,
  ];
  const [one, other] = [new Set(lines(now)), new Set(lines(wanted))];
  return [
    ...[...one].filter((line) => !other.has(line)).map((line) => `unexpected ${line}`),
    ...[...other].filter((line) => !one.has(line)).map((line) => `missing ${line}`),
  ];
}
