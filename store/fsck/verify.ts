import { setImmediate as breathe } from 'node:timers/promises';
import { isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { PackOrder } from '../../pack/index.ts';
import { orderedMap } from '../ordered-map.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';
import type { Store } from '../store.ts';
import type { ClusterWorkers } from '../workers/pool.ts';
import { packedToVerify, type SizedItem, verifyBatches } from '../workers/verify-batches.ts';
import type { ObjectToVerify, Verdicts } from '../workers/verify-jobs.ts';
import type { CopyPlace, Findings } from './findings.ts';
import type { Inventory } from './inventory.ts';

/** Heads that are read between two chances for others to run. */
const HEADS_A_TURN = 1024;

/** What the steps of a check work with. */
export interface Check {
  readonly store: Store;
  readonly inventory: Inventory;
  readonly findings: Findings;
  readonly workers: ClusterWorkers;
  readonly monitor: Monitor;
  /** Objects in more than one copy, counted once for each further copy. */
  furtherCopies: number;
}

/** A copy on its way to a thread. */
interface CopyToVerify extends SizedItem {
  readonly item: ObjectToVerify;
  readonly place: CopyPlace;
  readonly number: number;
  /** Bytes that it takes in the store. */
  readonly storedBytes: number;
}

/** Reads every copy of every object, packs in their own order, so that bases of deltas are at hand. */
export async function verifyCopies(check: Check, totalBytes: number): Promise<void> {
  const { workers, monitor, inventory } = check;
  let done = 0;
  const verify = async (copies: readonly CopyToVerify[]) => ({
    copies,
    verdicts: await workers.verify(copies.map(({ item }) => item)),
  });
  const whole = verifyChecksums(check);
  // Looked at when its turn comes; until then a failure must not count as unhandled.
  whole.catch(() => {});
  for await (const { copies, verdicts } of orderedMap(
    verifyBatches(allCopies(check)),
    2 * workers.threads + 1,
    verify,
  )) {
    throwIfStopped(monitor);
    settle(check, copies, verdicts);
    done += copies.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    monitor.onProgress?.({ done: Math.min(done, totalBytes), total: totalBytes });
  }
  await whole;
  // Small work is done without a turn for others.
  if (inventory.count > 0) await breathe();
}

/** Hashes whole packs beside the verification of their entries: also what lies between entries counts. */
async function verifyChecksums({ inventory, workers, findings }: Check): Promise<void> {
  for (const { stem, pack, fits } of inventory.packs) {
    if (fits === false) continue;
    const path = `${stem}.pack`;
    try {
      const computed = await workers.checksum(path);
      const trailer = Buffer.alloc(32);
      pack.readInto(trailer, pack.entriesEnd);
      if (computed !== trailer.toString('hex'))
        findings.files.push({ path, kind: 'pack', reason: 'its checksum does not fit its bytes' });
    } catch (error) {
      // Another process has put its objects into a larger one; what was open of it is verified all the same.
      if (isImgstoreError(error, 'NOT_FOUND')) continue;
      if (!isImgstoreError(error)) throw error;
      findings.files.push({ path, kind: 'pack', reason: error.message });
    }
  }
}

function settle({ inventory, findings }: Check, copies: readonly CopyToVerify[], verdicts: Verdicts): void {
  for (const [i, object] of verdicts.objects.entries())
    if (object !== undefined) inventory.record(copies[i]!.number, object);
  for (const { item, kind, reason } of verdicts.faults) {
    const { place, item: copy } = copies[item]!;
    const type = verdicts.objects[item]?.type;
    if (kind === 'malformed') findings.problem(copy.id, type!, reason);
    else if (kind !== 'vanished') findings.copies.push({ id: copy.id, place, kind, reason });
  }
}

async function* allCopies(check: Check): AsyncGenerator<CopyToVerify> {
  for (const pack of check.inventory.packs.keys()) yield* packedCopies(check, pack);
  yield* looseCopies(check);
}

async function* packedCopies(check: Check, packNumber: number): AsyncGenerator<CopyToVerify> {
  const { inventory, findings } = check;
  const source = inventory.packs[packNumber]!;
  const { pack } = source;
  const order = new PackOrder(pack);
  for (const [i, position] of order.positions.entries()) {
    if (i % HEADS_A_TURN === HEADS_A_TURN - 1) await breathe();
    const id = pack.idx.id(position);
    const offset = order.offset(i);
    const place = { source, offset };
    const number = inventory.packedNumber(packNumber, position);
    countCopy(check, id, number);
    try {
      yield { ...packedToVerify(pack, order, i), place, number, storedBytes: order.end(i) - offset };
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      findings.copies.push({ id, place, kind: 'lost', reason: error.message });
    }
  }
}

async function* looseCopies(check: Check): AsyncGenerator<CopyToVerify> {
  const { inventory, store } = check;
  const { loose } = store.objects;
  for (const id of inventory.looseIds) {
    const path = loose.path(id);
    const number = inventory.looseNumber(id);
    countCopy(check, id, number);
    const storedBytes = fileSize(check, id) ?? 0;
    const inflated = storedBytes * LIKELY_EXPANSION;
    yield { item: { id, path }, place: { source: undefined, path }, number, storedBytes, inflated };
  }
}

/** What cannot be looked at fails when it is read, with the reason. */
function fileSize({ store }: Check, id: ObjectId): number | undefined {
  try {
    return store.objects.loose.fileSize(id);
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}

/** Of zlib on clusters, to cut batches by. */
const LIKELY_EXPANSION = 3;

function countCopy(check: Check, id: ObjectId, number: number): void {
  if (check.inventory.isFurtherCopy(id, number)) check.furtherCopies++;
}

/** Notes type and size of every copy by the heads alone, without inflating what is not a delta. */
export async function readHeads(check: Check): Promise<void> {
  const { inventory, findings, store } = check;
  let turn = 0;
  const note = async (id: ObjectId, place: CopyPlace, number: number, look: () => Head | undefined) => {
    if (++turn % HEADS_A_TURN === 0) {
      await breathe();
      throwIfStopped(check.monitor);
    }
    countCopy(check, id, number);
    try {
      const head = look();
      if (head !== undefined) inventory.record(number, { ...head, isZero: false });
    } catch (error) {
      if (!isImgstoreError(error)) throw error;
      findings.copies.push({ id, place, kind: 'lost', reason: error.message });
    }
  };
  for (const [packNumber, source] of inventory.packs.entries()) {
    const { pack } = source;
    for (let position = 0; position < pack.idx.count; position++) {
      const place = { source, offset: pack.idx.offset(position) };
      const number = inventory.packedNumber(packNumber, position);
      await note(pack.idx.id(position), place, number, () => pack.headerAt(place.offset));
    }
  }
  const { loose } = store.objects;
  for (const id of inventory.looseIds) {
    const place = { source: undefined, path: loose.path(id) };
    await note(id, place, inventory.looseNumber(id), () => loose.header(id));
  }
}

type Head = NonNullable<ReturnType<Store['objects']['loose']['header']>>;
