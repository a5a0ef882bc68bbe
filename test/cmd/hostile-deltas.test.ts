import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { objectId } from '../../objects/index.ts';
import { noise } from '../objects/noise.ts';
import { type CraftedEntry, craftPack, deltaEntry, wholeEntry } from '../pack/craft-pack.ts';
import { copy, deltaOf, encodeDelta, varint } from '../pack/delta/encode-delta.ts';
import { oneLine, sharedWorkplace, Workplace } from './imgstore.ts';
import { listStore } from './store-files.ts';

/** The only cluster of an image, which is kept in hostile packs alone. */
const CLUSTER = noise(65536, 1);
const ID = objectId('blob', CLUSTER);
const BASE = Buffer.concat([CLUSTER.subarray(1000), noise(1000, 2)]);
const BASE_ID = objectId('blob', BASE);
const OTHER = 'cd'.repeat(32);
/** What makes the cluster out of its base. */
const DELTA = deltaOf(BASE, [{ insert: CLUSTER.subarray(0, 1000) }, { copy: 0, length: 64536 }]);

const base = wholeEntry(BASE_ID, 'blob', BASE);
const baseLength = base.head.length + base.stream.length;
const onBase = (delta: Uint8Array, size?: number) => [base, deltaEntry(ID, BASE_ID, delta, size)];

/** A chain of deltas that change nothing, the cluster at its end. */
function chain(depth: number): CraftedEntry[] {
  const identity = deltaOf(CLUSTER, [{ copy: 0, length: CLUSTER.length }]);
  const whole = wholeEntry(OTHER, 'blob', CLUSTER);
  const entries = [whole];
  let back = whole.head.length + whole.stream.length;
  for (let at = 1; at <= depth; at++) {
    const entry = deltaEntry(at === depth ? ID : at.toString(16).padStart(64, '0'), back, identity);
    entries.push(entry);
    back = entry.head.length + entry.stream.length;
  }
  return entries;
}

const template = sharedWorkplace(async (made) => {
  await made.ok('init');
  writeFileSync(made.path('web.raw'), CLUSTER);
  await made.ok('commit', 'web.raw');
  const loose = made.path('.imgstore/objects', ID.slice(0, 2), ID.slice(2));
  chmodSync(loose, 0o644);
  rmSync(loose);
});

const NAME = 'pack-0123';

/** Puts a hostile pack into the store and returns where its entry of the cluster is, as messages have it. */
function putPack(store: Workplace, entries: readonly CraftedEntry[]): string {
  const { stem, offsets } = craftPack(store.path('.imgstore/objects/pack'), entries, NAME);
  return `${stem}.pack: entry at ${offsets[entries.findIndex(({ id }) => id === ID)]}`;
}

/** A store of its own. */
async function copyOfStore(): Promise<Workplace> {
  const place = await Workplace.create();
  await cp(template().folder, place.folder, { recursive: true });
  return place;
}

/** The store's files but those of our own caches and locks. */
async function filesOf(place: Workplace): Promise<string[]> {
  const files = await listStore(place.path('.imgstore'));
  return files.filter((line) => !/^imgstore[/ ]/.test(line));
}

test('an image is read from a pack made by hand when that is right', async () => {
  const place = await copyOfStore();
  putPack(place, onBase(DELTA));
  expect((await place.run('cat', 'web')).bytes.equals(CLUSTER)).toBe(true);
});

describe.each<[string, readonly CraftedEntry[]]>([
  ['stands on itself by id', [base, deltaEntry(ID, ID, DELTA)]],
  ['stands on itself by a distance of 0', [base, deltaEntry(ID, 0, DELTA)]],
  [
    'stands in a circle of three',
    [deltaEntry(ID, OTHER, DELTA), deltaEntry(OTHER, BASE_ID, DELTA), deltaEntry(BASE_ID, ID, DELTA)],
  ],
  ['stands on what lies before the pack', [base, deltaEntry(ID, baseLength + 1000, DELTA)]],
  ['stands on the header of the pack', [base, deltaEntry(ID, baseLength + 12, DELTA)]],
  ['stands on the middle of an entry', [base, deltaEntry(ID, baseLength - 7, DELTA)]],
  ['stands on what is not there', [base, deltaEntry(ID, OTHER, DELTA)]],
  ['is at the end of a chain of 5000', chain(5000)],
])('of a cluster whose delta %s', (_, entries) => {
  test('cat, checkout, pack and stats name pack and offset in one line', async () => {
    const place = await copyOfStore();
    const where = putPack(place, entries);
    const files = await filesOf(place);
    const cat = await place.run('cat', 'web');
    expect(cat).toMatchObject({ status: 1, stdout: '' });
    expect(oneLine(cat)).toContain(where);
    const checkout = await place.run('checkout', 'web', '-o', 'out.raw');
    expect(checkout.status).toBe(1);
    expect(oneLine(checkout)).toContain(where);
    expect(existsSync(place.path('out.raw'))).toBe(false);
    for (const verb of [['pack'], ['pack', '--aggressive']]) {
      const pack = await place.run(...verb);
      expect(pack.status).toBe(1);
      expect(oneLine(pack)).toContain(`${NAME}.pack: entry at `);
    }
    const stats = await place.run('stats');
    expect(stats.status).toBe(3);
    expect(stats.stderr).toContain(where);
    expect(stats.stderr).not.toMatch(/^\s+at /m);
    expect(await filesOf(place)).toEqual(files);
  });
});

const cut = deltaEntry(ID, BASE_ID, DELTA);

describe.each<[string, readonly CraftedEntry[]]>([
  ['is for a base of another size', onBase(encodeDelta(65535, 65536, [{ copy: 0, length: 65535 }]))],
  ['makes less than it says', onBase(encodeDelta(65536, 65536, [{ copy: 0, length: 65535 }]))],
  ['makes more than it says', onBase(encodeDelta(65536, 100, [{ copy: 0, length: 101 }]))],
  ['says that it makes a gigabyte', onBase(Buffer.concat([varint(65536), varint(2 ** 30), copy(0, 100)]))],
  ['copies from behind its base', onBase(encodeDelta(65536, 65536, [{ copy: 1, length: 65536 }]))],
  ['has the instruction 0', onBase(Buffer.concat([varint(65536), varint(65536), Buffer.of(0)]))],
  ['makes other bytes', onBase(deltaOf(BASE, [{ copy: 0, length: 65536 }]))],
  ['says another size than it has', onBase(DELTA, DELTA.length + 1)],
  [
    'is cut short',
    [base, { ...cut, stream: cut.stream.subarray(0, 300) }, wholeEntry(OTHER, 'blob', CLUSTER)],
  ],
  ['stands on a tree', [wholeEntry(BASE_ID, 'tree', BASE), deltaEntry(ID, BASE_ID, DELTA)]],
])('of a cluster whose delta %s', (_, entries) => {
  test('cat and checkout name pack and offset in one line, and pack makes nothing of it that can be read', async () => {
    const place = await copyOfStore();
    const where = putPack(place, entries);
    const cat = await place.run('cat', 'web');
    expect(cat).toMatchObject({ status: 1, stdout: '' });
    expect(oneLine(cat)).toContain(where);
    const checkout = await place.run('checkout', 'web', '-o', 'out.raw');
    expect(checkout.status).toBe(1);
    expect(oneLine(checkout)).toContain(where);
    expect(existsSync(place.path('out.raw'))).toBe(false);
    expect([0, 3]).toContain((await place.run('stats')).status);
    const aggressive = await place.run('pack', '--aggressive');
    expect(aggressive.status).toBe(1);
    expect(oneLine(aggressive)).toContain(`${NAME}.pack: entry at `);
    // A delta may be taken over as it is, unread; then it is as damaged as before.
    const pack = await place.run('pack');
    if (pack.status === 0) {
      const again = await place.run('cat', 'web');
      expect(again).toMatchObject({ status: 1, stdout: '' });
      expect(oneLine(again)).toMatch(/\/pack-[0-9a-f]+\.pack: entry at \d+/);
    } else {
      expect(oneLine(pack)).toContain(`${NAME}.pack: entry at `);
    }
  });
});
