import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mixed, noise } from '../objects/noise.ts';
import { diskOf } from '../store/disks.ts';
import { git } from '../store/git.ts';
import { type FolderNode, readTree, writeTree } from './file-tree.ts';
import { succeedHere } from './run-here.ts';
import type { WritingVerb } from './verbs.ts';

/** Bytes of a cluster in these stores. */
const CLUSTER = 4096;
/** New objects of a commit that go into a pack. */
const UNPACK_LIMIT = 10;
/** Clusters of a disk whose commit makes a pack. */
const MANY = 12;

/** What a store must never lose: versions by the id of their commits. */
export interface History {
  /** Digest of the disk's bytes. */
  readonly digests: ReadonlyMap<string, string>;
}

/** A history, and the folder that it is in. */
export interface SampleHistory extends History {
  readonly tree: FolderNode;
}

const samples = new Map<WritingVerb | undefined, Promise<SampleHistory>>();

/** The folder of {@link makeHistory}, in memory, with what a verb needs besides; made once for the tests of a file. */
export function sampleHistory(verb?: WritingVerb): Promise<SampleHistory> {
  if (verb?.prepare === undefined) return keptSample(undefined, (folder) => makeHistory(folder));
  const { prepare } = verb;
  return keptSample(verb, async (folder) => {
    const { digests, tree } = await sampleHistory();
    writeTree(folder, tree);
    await prepare(folder);
    return { digests };
  });
}

function keptSample(
  verb: WritingVerb | undefined,
  make: (folder: string) => Promise<History>,
): Promise<SampleHistory> {
  const kept = samples.get(verb) ?? readHistory(make);
  samples.set(verb, kept);
  return kept;
}

async function readHistory(make: (folder: string) => Promise<History>): Promise<SampleHistory> {
  const folder = await mkdtemp(join(tmpdir(), 'imgstore-test-'));
  try {
    const { digests } = await make(folder);
    return { digests, tree: readTree(folder) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A disk of so many clusters that its commit makes a pack; versions differ in some bytes of each, so `pack` makes deltas. */
export function manyClusters(version: number): Buffer {
  const bytes = mixed(MANY * CLUSTER, 1);
  for (let at = 0; at < bytes.length; at += CLUSTER) noise(40, version * MANY + at).copy(bytes, at + 100);
  return bytes;
}

/**
 * Fills a folder with a store that has a bit of everything that stores have: loose objects, a pack with deltas, a pack that is kept, one that is a
 * commit's own, versions that nothing leads to, a multi-pack-index, packed refs, tags of both kinds; and with images that are new to the store: `web.raw` (few new objects), `db.raw` (many),
 * `mail.raw` (a new image).
 */
export async function makeHistory(folder: string): Promise<History> {
  const digests = new Map<string, string>();
  const store = join(folder, '.imgstore');
  const commit = async (branch: string, bytes: Buffer) => {
    writeFileSync(join(folder, `${branch}.raw`), bytes);
    await succeedHere(folder, 'commit', `${branch}.raw`, '-m', `version ${digests.size}`);
    digests.set(await git(store, 'rev-parse', branch), digestOf(bytes));
  };
  mkdirSync(folder, { recursive: true });
  await succeedHere(folder, 'init', '--cluster-size', `${CLUSTER}`);
  // Checkouts are sealed by it: so they are the same bytes each time.
  mkdirSync(join(store, 'imgstore'), { recursive: true });
  writeFileSync(join(store, 'imgstore', 'key'), noise(32, 1), { mode: 0o600 });
  appendFileSync(join(store, 'config'), `\tunpackLimit = ${UNPACK_LIMIT}\n\tautoPack = 0\n`);
  await commit('base', diskOf(Array.from({ length: MANY }, (_, i) => 100 + i)));
  keepPacks(join(store, 'objects/pack'));
  await commit('web', diskOf([1, 2, 3, 0, 4]));
  await commit('db', manyClusters(1));
  await commit('db', manyClusters(2));
  await succeedHere(folder, 'tag', 'v1', 'web');
  await succeedHere(folder, 'tag', 'v2', 'web', '-m', 'annotated');
  await succeedHere(folder, 'branch', 'old', 'db~1');
  await leaveGarbage(folder, 60);
  await succeedHere(folder, 'pack');
  await git(store, 'pack-refs', '--all');
  await commit('web', diskOf([1, 2, 5, 0, 4]));
  await commit('db', manyClusters(3));
  await succeedHere(folder, 'branch', 'test/web', 'web');

  await leaveGarbage(folder, 70);

  writeFileSync(join(folder, 'web.raw'), diskOf([1, 6, 5, 0, 4]));
  writeFileSync(join(folder, 'db.raw'), manyClusters(4));
  writeFileSync(join(folder, 'mail.raw'), diskOf([7, 1]));
  return { digests };
}

/** Versions that nothing leads to any more, in loose objects, in a pack of their own, and in one with others. */
async function leaveGarbage(folder: string, seed: number): Promise<void> {
  for (const bytes of [diskOf([1, seed]), manyClusters(seed)]) {
    writeFileSync(join(folder, 'gone.raw'), bytes);
    await succeedHere(folder, 'commit', 'gone.raw');
    await succeedHere(folder, 'branch', '-d', 'gone');
  }
  rmSync(join(folder, 'gone.raw'));
}

/** `pack` leaves a pack alone that has such a file beside it, so there is more than one. */
function keepPacks(folder: string): void {
  for (const name of readdirSync(folder))
    if (name.endsWith('.pack')) writeFileSync(join(folder, name.replace(/pack$/, 'keep')), '');
}

export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Digest of a file. */
export function fileDigest(path: string): string {
  return digestOf(readFileSync(path));
}
