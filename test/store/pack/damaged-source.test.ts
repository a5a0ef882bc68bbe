import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { nodeHash } from '../../../objects/index.ts';
import { PackOrder, PackWriter } from '../../../pack/index.ts';
import { checkoutVersion, packStore, type Store } from '../../../store/index.ts';
import { mixed, noise } from '../../objects/noise.ts';
import { git, gitFsck, gitWith } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL, type TestStore } from '../new-store.ts';

/** Disks of which each differs from the one before by a quarter of each cluster. */
function edited(version: number): Buffer {
  const bytes = mixed(8 * SMALL, 1);
  for (let at = 0; at < bytes.length; at += SMALL) noise(SMALL / 4, version).copy(bytes, at + 50 * version);
  return bytes;
}

async function history(): Promise<TestStore> {
  const made = await newStore();
  for (const version of [0, 1, 2]) await commitBytes(made, 'web', edited(version));
  return made;
}

/** The loose objects of a store, by path. */
function looseFiles({ objects: { loose } }: Store): Map<string, Buffer> {
  return new Map([...loose.ids()].map((id) => [loose.path(id), readFileSync(loose.path(id))]));
}

function putBack(files: ReadonlyMap<string, Buffer>): void {
  for (const [path, bytes] of files) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
}

/** Changes a byte near the end of the longest entry of a kind in a store's only pack, under checksums that fit, and returns where the entry is. */
function damageEntry(store: Store, isDelta: boolean): string {
  const [pack] = store.objects.packs.packs();
  const order = new PackOrder(pack!);
  const entries = Array.from(order.positions, (position, i) => ({
    position,
    start: order.offset(i),
    end: order.end(i),
  }));
  const { start, end } = entries
    .filter(({ position }) => pack!.depth(position) > 0 === isDelta)
    .sort((a, b) => b.end - b.start - (a.end - a.start))[0]!;
  const bytes = readFileSync(pack!.path);
  bytes[end - 2]! ^= 0x10;
  const checksum = nodeHash.create().update(bytes.subarray(0, -32)).digest();
  bytes.set(checksum, bytes.length - 32);
  const idx = readFileSync(`${pack!.stem}.idx`);
  idx.set(checksum, idx.length - 64);
  for (const [ending, content] of Object.entries({ pack: bytes, idx })) {
    chmodSync(`${pack!.stem}.${ending}`, 0o644);
    writeFileSync(`${pack!.stem}.${ending}`, content);
  }
  return `${pack!.path}: entry at ${start}`;
}

const filesOf = (path: string) =>
  readdirSync(join(path, 'objects'), { recursive: true, encoding: 'utf8' }).sort();

/** Ways in which git packs, by what of it is damaged. */
const GIT_PACKS: [string, boolean, string[]][] = [
  ['a delta of a pack that git made', true, ['repack', '-adfq', '--depth=10']],
  ['a delta by id', true, ['-c', 'repack.useDeltaBaseOffset=false', 'repack', '-adfq']],
  [
    'a whole object of a pack that git made',
    false,
    ['-c', 'pack.compression=9', 'repack', '-adFq', '--depth=0'],
  ],
];

test.each(GIT_PACKS)(
  'packStore throws DAMAGED and removes nothing when %s is damaged',
  async (_, isDelta, args) => {
    const made = await history();
    await git(made.path, ...args);
    const where = damageEntry(await reopen(made.path), isDelta);
    // Something to pack: of what is damaged there is no other copy.
    await commitBytes(made, 'other', noise(SMALL, 77));
    const before = filesOf(made.path);
    await expect(packStore(await reopen(made.path))).rejects.toMatchObject({
      code: 'DAMAGED',
      message: expect.stringContaining(where),
    });
    expect(filesOf(made.path)).toEqual(before);
  },
);

/** Fails unless the store has one pack, nothing loose, and everything in it whole. */
async function expectHealed(made: TestStore, versions: number): Promise<void> {
  const store = await reopen(made.path);
  expect([...store.objects.loose.ids()]).toEqual([]);
  expect(store.objects.packs.packs()).toHaveLength(1);
  await gitFsck(made.path);
  for (let version = 0; version < versions; version++) {
    const output = made.file(`version-${version}.raw`);
    await checkoutVersion(store, { revision: `web~${versions - 1 - version}`, output });
    expect(readFileSync(output).equals(edited(version))).toBe(true);
  }
}

test.each(GIT_PACKS)(
  'packStore takes the whole copy when there is a loose one and %s is damaged',
  async (_, isDelta, args) => {
    const made = await history();
    const whole = looseFiles(made.store);
    await git(made.path, ...args);
    damageEntry(await reopen(made.path), isDelta);
    putBack(whole);
    await packStore(await reopen(made.path));
    await expectHealed(made, 3);
  },
);

test('packStore takes whole copies out of another pack', async () => {
  const made = await history();
  const whole = looseFiles(made.store);
  await git(made.path, 'repack', '-adfq', '--depth=10');
  damageEntry(await reopen(made.path), true);
  putBack(whole);
  // A second pack, of all loose objects.
  const ids = [...made.store.objects.loose.ids()].join('\n');
  gitWith(made.path, { input: ids }, 'pack-objects', '-q', `${made.path}/objects/pack/pack`);
  for (const path of whole.keys()) rmSync(path);
  await packStore(await reopen(made.path));
  await expectHealed(made, 3);
});

test('packStore takes whole copies when a pack is damaged that would be taken over as it is', async () => {
  const made = await history();
  const whole = looseFiles(made.store);
  await packStore(made.store);
  damageEntry(made.store, true);
  putBack(whole);
  await commitBytes(made, 'web', edited(3));
  await packStore(await reopen(made.path));
  await expectHealed(made, 4);
});

test('packStore throws DAMAGED and removes nothing when a pack is damaged that is taken over as it is', async () => {
  const made = await history();
  await packStore(made.store);
  const where = damageEntry(made.store, true);
  await commitBytes(made, 'other', noise(SMALL, 77));
  const before = filesOf(made.path);
  await expect(packStore(await reopen(made.path))).rejects.toMatchObject({
    code: 'DAMAGED',
    message: expect.stringContaining(where),
  });
  expect(filesOf(made.path)).toEqual(before);
});

test('packStore takes the whole copy of a loose object that is damaged', async () => {
  const made = await history();
  const whole = looseFiles(made.store);
  const ids = [...made.store.objects.loose.ids()].join('\n');
  gitWith(made.path, { input: ids }, 'pack-objects', '-q', `${made.path}/objects/pack/pack`);
  for (const path of whole.keys()) {
    rmSync(path);
    writeFileSync(path, 'damaged');
  }
  await packStore(await reopen(made.path));
  await expectHealed(made, 3);
});

test('packStore takes the whole copy of an object that a pack has other bytes for, under a CRC that fits', async () => {
  const made = await history();
  const whole = looseFiles(made.store);
  const writer = await PackWriter.create(made.store.objects.packs.folder);
  for (const id of made.store.objects.loose.ids()) {
    const { type, data } = made.store.objects.read(id);
    const packed = type === 'blob' ? noise(data.length, 99) : data;
    await writer.add({ id, type, size: data.length, deflated: deflateSync(packed, { level: 9 }) });
  }
  await (await writer.finish()).publish();
  await packStore(await reopen(made.path));
  for (const path of whole.keys()) expect(existsSync(path)).toBe(false);
  await expectHealed(made, 3);
});
