import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import {
  encodeOwner,
  type FileRules,
  isGone,
  makeFolder,
  type Owner,
  parseOwner,
  pause,
  thisProcess,
  writeWholeFile,
} from '../../files/index.ts';

const PAUSE_MS = 20;

/** How long a sweep of another machine is waited for when nothing else is asked for. */
const ELSEWHERE_WAIT_MS = 60_000;

/**
 * Which sweep of `gc` was the last: `imgstore/sweeps` holds its number, and, until it has come to its end, the process. What a process has seen in the store is
 * still there as long as this stays the same.
 */
export interface SweepState {
  readonly number: number;
  /** Who sweeps, or was killed while sweeping; undefined when the last sweep has come to its end. */
  readonly sweeper: Owner | undefined;
}

const PATTERN = /^(\d{1,15})\n([^\n]+\n)?$/;

function pathOf(storeFolder: string): string {
  return join(storeFolder, 'imgstore', 'sweeps');
}

/** The state now; of a file that is damaged one that no other is the same as. @throws ImgstoreError `IO`. */
export function readSweeps(storeFolder: string): SweepState {
  const path = pathOf(storeFolder);
  try {
    const [, number, owner] = PATTERN.exec(readFileSync(path, 'latin1')) ?? [];
    return { number: Number(number ?? Number.NaN), sweeper: parseOwner(owner ?? '') };
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return { number: 0, sweeper: undefined };
    throw fromSystem(error, path);
  }
}

/** Whether nothing was removed between two looks. */
export function isSameSweep(before: SweepState, now: SweepState): boolean {
  return before.number === now.number && before.sweeper === undefined && now.sweeper === undefined;
}

/**
 * Waits until nobody sweeps: that takes no longer than removing files. What a dead process of this machine has begun is not waited for; of one of another machine or container
 * it is not known whether it is dead, so it is not waited for for ever.
 * @throws ImgstoreError `BUSY` when it still sweeps then, `INTERRUPTED`, `IO`
 */
export async function waitForSweep(
  storeFolder: string,
  { lockWaitMs, signal }: FileRules = {},
): Promise<SweepState> {
  const began = performance.now();
  for (;;) {
    const state = readSweeps(storeFolder);
    const { sweeper } = state;
    if (sweeper === undefined || isGone(sweeper)) return state;
    const mostMs = lockWaitMs ?? (isHere(sweeper) ? Number.POSITIVE_INFINITY : ELSEWHERE_WAIT_MS);
    if (performance.now() - began >= mostMs) throw busy(storeFolder, sweeper);
    await pause(
      PAUSE_MS,
      signal,
      () => new ImgstoreError('INTERRUPTED', `${storeFolder}: interrupted while waiting for gc`, {}),
    );
  }
}

function isHere({ host, place }: Owner): boolean {
  const here = thisProcess();
  return host === here.host && place === here.place;
}

function busy(storeFolder: string, { pid, host }: Owner): ImgstoreError {
  const path = pathOf(storeFolder);
  return new ImgstoreError(
    'BUSY',
    `${path}: process ${pid} on ${host} removes objects (gc): try again, or wait with --lock-timeout; if it is not running, run imgstore gc`,
    { path, pid, host },
  );
}

/** A store, as far as it matters here. */
interface SweptStore {
  readonly folder: string;
  readonly rules: FileRules;
}

/** Says that objects are about to be removed. @throws ImgstoreError `IO`. */
export async function beginSweep(store: SweptStore): Promise<void> {
  await makeFolder('sweeps', join(store.folder, 'imgstore'), store.rules);
  const { number } = readSweeps(store.folder);
  const next = Number.isNaN(number) ? 1 : number + 1;
  await write(store, Buffer.from(`${next}\n${encodeOwner(thisProcess())}`));
}

/** Says that a sweep has failed half-way: nobody waits for it any more, and nobody believes what it has left until the next has come to its end. Never throws. */
export async function abandonSweep(store: SweptStore): Promise<void> {
  const { number } = readSweeps(store.folder);
  // A process of this number that began with the system: there is none.
  const nobody = encodeOwner({ ...thisProcess(), started: '0' });
  await write(store, Buffer.from(`${number}\n${nobody}`)).catch(() => {});
}

/** Says that all that is left is whole again. @throws ImgstoreError `IO`. */
export async function endSweep(store: SweptStore): Promise<void> {
  const { number } = readSweeps(store.folder);
  await write(store, Buffer.from(`${number}\n`));
}

async function write({ folder, rules }: SweptStore, bytes: Uint8Array): Promise<void> {
  await writeWholeFile('sweeps', pathOf(folder), bytes, rules.sharing);
}
