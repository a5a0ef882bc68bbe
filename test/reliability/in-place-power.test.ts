import { readFileSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkoutInPlace, initStore } from '../../store/index.ts';
import { Random } from '../qcow2/differential/random.ts';
import { qemuBytes } from '../qcow2/qemu.ts';
import { commitBytes, reopen } from '../store/new-store.ts';
import { hasLeaksOnly, snapshotBytes, TARGETS, WANTED } from './in-place-targets.ts';
import { quickFolder } from './quick-folder.ts';

const SEED = Number(process.env.IMGSTORE_SEED ?? 1);
/** Mixes that are tried between two fsyncs. */
const TRIES = process.env.IMGSTORE_LONG === '1' ? 20 : 3;
const SECTOR = 512;

/** Runs `work`, and returns what the file holds at each fsync of any file, at the start and at the end. */
async function statesAtSyncs(path: string, work: () => Promise<unknown>): Promise<Buffer[]> {
  const states = [readFileSync(path)];
  const handle = await open(path, 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const sync = Reflect.get(prototype, 'sync');
  prototype.sync = function (this: FileHandle) {
    states.push(readFileSync(path));
    return sync.call(this);
  };
  try {
    await work();
  } finally {
    prototype.sync = sync;
  }
  return [...states, readFileSync(path)];
}

/** What a disk may hold when the power fails between two fsyncs: of each sector that was written the bytes before or after. */
function mixed(before: Buffer, after: Buffer, random: Random): Buffer {
  const size = random.pick([before.length, after.length]);
  const bytes = Buffer.alloc(Math.max(size, after.length));
  before.copy(bytes);
  const odds = random.pick([2, 4, 20]);
  const keepsFew = random.once(2);
  for (let at = 0; at < after.length; at += SECTOR)
    if (random.once(odds) === keepsFew) bytes.set(after.subarray(at, at + SECTOR), at);
  return bytes.subarray(0, size);
}

test.each(TARGETS)(
  'a failure of the power at any moment of checkoutInPlace leaves $name that can be read and completed',
  { timeout: 0 },
  async ({ file, make, snapshot }) => {
    const folder = await quickFolder();
    const init = await initStore(folder, { clusterSize: 4096 });
    init.close();
    const store = await reopen(init.folder);
    const made = { store, path: init.folder, file: (name: string) => join(folder, name) };
    await commitBytes(made, 'web', WANTED);
    await make(folder);
    const path = join(folder, file);
    const kept = snapshot === undefined ? undefined : await snapshotBytes(path, snapshot);
    const run = () => checkoutInPlace(store, { revision: 'web', output: path });
    const states = await statesAtSyncs(path, run);
    const random = new Random(SEED);
    let tried = 0;
    for (const [i, after] of states.entries()) {
      const before = states[i - 1];
      if (before === undefined || before.equals(after)) continue;
      for (let n = 0; n < TRIES; n++) {
        writeFileSync(path, mixed(before, after, random));
        if (snapshot !== undefined) await hasLeaksOnly(path);
        await run();
        tried++;
        if (snapshot === undefined) {
          expect(readFileSync(path).equals(WANTED)).toBe(true);
          continue;
        }
        await hasLeaksOnly(path);
        expect((await qemuBytes(path)).equals(WANTED), 'the disk').toBe(true);
        expect((await snapshotBytes(path, snapshot)).equals(kept!), 'the snapshot').toBe(true);
      }
    }
    expect(tried).toBeGreaterThan(0);
  },
);
