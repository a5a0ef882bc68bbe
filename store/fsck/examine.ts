import { existsSync, statSync } from 'node:fs';
import { counted, isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { scanPack } from '../../pack/index.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { ClusterWorkers } from '../workers/pool.ts';
import { type BadCopy, Findings, placeText } from './findings.ts';
import { Inventory } from './inventory.ts';
import { leftovers } from './leftovers.ts';
import { listStems, openPackSources, type PackSources } from './pack-sources.ts';
import {
  type DamagedObject,
  type DamagedRef,
  type FsckReport,
  type MissingObject,
  withoutPlace,
} from './report.ts';
import { type Root, type Roots, readRoots } from './roots.ts';
import { checkSideFiles } from './side-files.ts';
import { findTouches, type Touches } from './touched.ts';
import { type Check, readHeads, verifyCopies } from './verify.ts';
import { HistoryWalk } from './walk.ts';

/** How often the history is walked anew since other processes have moved refs or objects meanwhile. */
const MOST_WALKS = 10;

/** Guesses for the size of the work: what a stored byte inflates to, and bytes of a loose object. */
const EXPANSION = 2;
const LOOSE_BYTES = 16_384;

/** What a check found, with what it found it by; packs stay open until it is closed. */
export interface Examination {
  readonly report: FsckReport;
  readonly findings: Findings;
  readonly inventory: Inventory;
  readonly sources: PackSources;
  readonly walk: HistoryWalk;
  readonly roots: Roots;
  readonly close: () => void;
}

/** Runs all parts of a check. @throws ImgstoreError `IO`, `INTERRUPTED` */
export async function examineStore(store: Store, quick: boolean, monitor: Monitor): Promise<Examination> {
  const started = performance.now();
  const findings = new Findings();
  // Refs before objects, and loose objects before packs: what refs lead to is there by then, and moves from files to packs.
  const roots = await readRoots(store);
  const looseIds = [...store.objects.loose.ids()];
  const storedBytes = packBytes(store) + looseIds.length * LOOSE_BYTES;
  const workers = new ClusterWorkers(quick ? 0 : storedBytes * EXPANSION);
  let inventory: Inventory | undefined;
  try {
    const sources = await openPackSources(store.objects.packs.folder, { findings, workers, quick });
    inventory = new Inventory(sources.packs, store.objects.loose, looseIds);
    const check: Check = { store, inventory, findings, workers, monitor, furtherCopies: 0 };
    if (quick) await readHeads(check);
    else await verifyCopies(check, storedBytes);
    await checkSideFiles(check);
    const walked = await walkHistory(check, roots);
    const report = await conclude(check, sources, walked, started);
    const taken = inventory;
    return { report, findings, inventory, sources, ...walked, close: () => taken.close() };
  } catch (error) {
    inventory?.close();
    throw error;
  } finally {
    await workers.close();
  }
}

function packBytes({ objects }: Store): number {
  const sizes = listStems(objects.packs.folder).idx.map(
    (stem) => statSync(`${stem}.pack`, { throwIfNoEntry: false })?.size ?? 0,
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

interface Walked {
  readonly walk: HistoryWalk;
  readonly roots: Roots;
}

/** Walks from all roots; once more as long as something is missing that another process may have removed with its ref, or moved. */
async function walkHistory(check: Check, first: Roots): Promise<Walked> {
  const { findings, store } = check;
  let roots = first;
  for (let walks = 1; ; walks++) {
    findings.missing.clear();
    const walk = new HistoryWalk(check);
    await walk.follow(roots.roots);
    if (walks === MOST_WALKS || !hasLost(check, walk, roots)) return { walk, roots };
    const now = await readRoots(store);
    walk.finder.lookAgain();
    const isBack = [...findings.missing.keys()].some((id) => walk.finder.find(id) !== undefined);
    if (!isBack && sameRoots(roots, now)) return { walk, roots };
    roots = now;
  }
}

function hasLost({ findings }: Check, walk: HistoryWalk, { roots, damaged }: Roots): boolean {
  if (findings.missing.size > 0 || damaged.length > 0) return true;
  return findings.copies.length > 0 && roots.some(({ id }) => walk.finder.find(id)?.object === undefined);
}

function sameRoots(a: Roots, b: Roots): boolean {
  const text = ({ roots, damaged }: Roots) => [
    ...roots.map(({ id, name }) => `${id} ${name}`),
    ...damaged.map(({ where, reason }) => `${where} ${reason}`),
  ];
  const before = new Set(text(a));
  const now = new Set(text(b));
  return before.size === now.size && [...before].every((line) => now.has(line));
}

/** A store of versions without refs is whole, and of no use. */
function lostRefsNotice(inventory: Inventory, { roots, damaged }: Roots): string[] {
  if (roots.some(({ isLog }) => !isLog) || damaged.length > 0) return [];
  const [commit] = inventory.idsOfType('commit');
  return commit === undefined
    ? []
    : [
        `no branch or tag leads to any version: bring them back with imgstore branch NAME ${commit.slice(0, 12)} and the like`,
      ];
}

async function conclude(
  check: Check,
  sources: PackSources,
  { walk, roots }: Walked,
  started: number,
): Promise<FsckReport> {
  const { store, findings, inventory } = check;
  const copies = findings.copies.filter((copy) => isStillThere(check, walk, copy));
  const files = [...findings.files, ...roots.files]
    .filter(({ path }) => existsSync(path))
    .map((file) => ({ ...file, reason: withoutPlace(file.reason, file.path) }));
  const lost = new Set([...findings.missing.keys(), ...findings.problems.keys()]);
  for (const { id } of copies) if (walk.finder.find(id)?.object === undefined) lost.add(id);
  const touches = await findTouches(walk, lost, roots.roots);
  const damaged = [
    ...copies.map((copy) => damagedCopy(copy, walk, lost, touches)),
    ...[...findings.problems].map(([id, { kind, reason }]) => ({
      id,
      kind,
      where: `object ${id}`,
      reason,
      lost: true,
      touches: touches.byObject.get(id) ?? [],
    })),
  ];
  const missing = [...findings.missing].map(([id, { kind, neededBy }]): MissingObject => {
    return { id, kind, neededBy, touches: touches.byObject.get(id) ?? [] };
  });
  const unindexed = await lookIntoUnindexed(sources, findings);
  files.push(...unindexed.files);
  const refs = [...roots.damaged, ...roots.roots.flatMap((root) => refFault(root, walk))];
  const objects = inventory.count - check.furtherCopies;
  return {
    objects,
    damaged,
    missing,
    dangling: objects - walk.reached,
    files,
    refs,
    notices: [
      ...lostRefsNotice(inventory, roots),
      ...roots.notices,
      ...findings.notices,
      ...unindexed.notices,
      ...leftovers(store.folder),
    ],
    omittedTouches: touches.omitted,
    clean: damaged.length + missing.length + files.length + refs.length === 0,
    seconds: (performance.now() - started) / 1000,
  };
}

function damagedCopy(
  { id, place, reason }: BadCopy,
  walk: HistoryWalk,
  lost: ReadonlySet<ObjectId>,
  touches: Touches,
): DamagedObject {
  const kind = walk.finder.find(id)?.object?.type ?? walk.findings.wanted.get(id);
  const where = placeText(place);
  return {
    id,
    kind,
    where,
    reason: withoutPlace(reason, where),
    lost: lost.has(id),
    touches: touches.byObject.get(id) ?? [],
  };
}

/** Another process may have replaced a damaged copy, or removed the pack that it was in, since it was read. */
function isStillThere({ store }: Check, { finder }: HistoryWalk, { id, place, kind }: BadCopy): boolean {
  if (place.source !== undefined)
    return existsSync(place.source.pack.path) || finder.find(id)?.object === undefined;
  return existsSync(place.path) && (kind === 'stored' || !store.objects.loose.hasWhole(id));
}

/** What is wrong with where a ref leads. */
function refFault({ id, name, where, kind, isLog }: Root, { finder }: HistoryWalk): DamagedRef[] {
  const entry = finder.find(id);
  const what = isLog ? 'names' : 'leads to';
  const type = entry?.object?.type;
  const reason =
    entry === undefined
      ? `${what} object ${id}, which is not in the store`
      : type === undefined
        ? `${what} object ${id}, which is damaged`
        : kind !== undefined && type !== kind
          ? `leads to a ${type}, not to a ${kind}`
          : undefined;
  return reason === undefined ? [] : [{ name, where, isLog, id, reason }];
}

/** Packs and indexes that are alone: damage when something is missing that is in one of them, else left from work that was stopped. */
async function lookIntoUnindexed(
  { unindexed, packless }: PackSources,
  { missing }: Findings,
): Promise<Pick<FsckReport, 'files' | 'notices'>> {
  const files: FsckReport['files'][number][] = [];
  const notices = packless
    .filter((stem) => existsSync(`${stem}.idx`))
    .map(
      (stem) =>
        `${stem}.idx: has no pack beside it: nothing reads it; put the pack back from a copy, or remove the index`,
    );
  for (const stem of unindexed) {
    const found = missing.size === 0 ? 0 : await missingIn(`${stem}.pack`, missing);
    if (existsSync(`${stem}.idx`) || !existsSync(`${stem}.pack`)) continue;
    const path = `${stem}.pack`;
    if (found > 0)
      files.push({
        path,
        kind: 'idx',
        reason: `has no index: ${counted(found, 'missing object is', 'missing objects are')} in it`,
      });
    else
      notices.push(
        `${path}: has no index, and nothing in it is missing: was left by a process that was stopped`,
      );
  }
  return { files, notices };
}

async function missingIn(path: string, missing: ReadonlyMap<ObjectId, unknown>): Promise<number> {
  try {
    return (await scanPack(path)).entries.filter(({ id }) => missing.has(id)).length;
  } catch (error) {
    if (isImgstoreError(error)) return 0;
    throw error;
  }
}
