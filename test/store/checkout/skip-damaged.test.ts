import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { type CheckoutRequest, checkoutVersion, compare } from '../../../store/index.ts';
import { qemuBytes, qemuCheck } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL, type TestStore } from '../new-store.ts';

/** Clusters below the first node of the lowest level. */
const LEAF = 256;
const CLUSTERS = 300;
const SEEDS = Array.from({ length: CLUSTERS }, (_, i) => i + 1);

/** What is damaged: two neighbours, one by itself, and a node of the map with the last clusters. */
const LOST = [3, 4, 17];

interface Damaged {
  readonly made: TestStore;
  /** The disk with zeros for what is lost. */
  readonly left: Buffer;
}

/** A store with an older version and one of which some clusters are lost. */
async function damagedStore(settings: Record<string, number> = {}): Promise<Damaged> {
  const made = await newStore(SMALL, settings);
  await commitBytes(made, 'web', diskOf(SEEDS.map((seed) => seed + 1000)));
  await commitBytes(made, 'web', diskOf(SEEDS));
  const path = async (name: string) =>
    made.store.objects.loose.path(await git(made.path, 'rev-parse', `web:disks/vda/${name}`));
  await rm(await path('00/03'));
  await rm(await path('00/04'));
  await rm(await path('01'));
  const turned = await path('00/11');
  const bytes = readFileSync(turned);
  bytes[100]! ^= 1;
  await rm(turned);
  writeFileSync(turned, bytes);
  const left = diskOf(SEEDS.map((seed, i) => (LOST.includes(i) || i >= LEAF ? 0 : seed)));
  return { made: { ...made, store: await reopen(made.path) }, left };
}

const EXPECTED = [
  { disk: 'vda', offset: 3 * SMALL, length: 2 * SMALL },
  { disk: 'vda', offset: 17 * SMALL, length: SMALL },
  { disk: 'vda', offset: LEAF * SMALL, length: (CLUSTERS - LEAF) * SMALL },
];

test.each<[string, string, Partial<CheckoutRequest>]>([
  ['raw', 'out.raw', {}],
  ['qcow2', 'out.qcow2', {}],
  ['a qcow2 compressed by zlib', 'out.qcow2', { compress: 'zlib' }],
  ['a qcow2 compressed by zstd', 'out.qcow2', { compress: 'zstd' }],
  ['an overlay on files of the versions before', 'out.qcow2', { backing: 'chain' }],
  ['a compressed overlay', 'out.qcow2', { backing: 'chain', compress: 'zlib' }],
])('checkoutVersion with skipDamaged leaves zeros and lists them, as %s', async (_, name, options) => {
  const { made, left } = await damagedStore();
  const output = made.file(name);
  const request = { revision: 'web', output, ...options };
  await expect(checkoutVersion(made.store, request)).rejects.toMatchObject({ code: /DAMAGED|NOT_FOUND/ });
  expect(existsSync(output)).toBe(false);
  const { damaged } = await checkoutVersion(made.store, { ...request, skipDamaged: true });
  expect(damaged).toEqual(EXPECTED.map((range) => ({ ...range, file: output, reason: expect.any(String) })));
  if (name.endsWith('qcow2')) await qemuCheck(output);
  const bytes = name.endsWith('qcow2') ? await qemuBytes(output) : readFileSync(output);
  expect(bytes.equals(left)).toBe(true);
});

test.each(['known to the stat cache', 'not known'])(
  'checkoutVersion with skipDamaged hides what the backing file has where clusters are lost, of a file that is %s',
  async (known) => {
    const { made, left } = await damagedStore();
    const base = made.file('base.qcow2');
    await checkoutVersion(made.store, { revision: 'web~1', output: base });
    if (known === 'not known') await rm(`${made.path}/imgstore/index`, { recursive: true });
    const output = made.file('out.qcow2');
    const request = { revision: 'web', output, backing: { file: base }, skipDamaged: true };
    const { damaged, backing } = await checkoutVersion(made.store, request);
    expect(backing).toBe('base.qcow2');
    expect(damaged).toMatchObject(EXPECTED);
    expect((await qemuBytes(output)).equals(left)).toBe(true);
  },
);

test('checkoutVersion with skipDamaged flattens what stands on a version whose map is damaged', async () => {
  const { made, left } = await damagedStore();
  await rm(made.store.objects.loose.path(await git(made.path, 'rev-parse', 'web~1:disks/vda/00')));
  const output = made.file('out.qcow2');
  const request = { revision: 'web', output, backing: 'chain', skipDamaged: true } as const;
  expect(await checkoutVersion(made.store, request)).toMatchObject({ backing: null });
  expect((await qemuBytes(output)).equals(left)).toBe(true);
});

test('checkoutVersion with skipDamaged finds no damage in a whole version, and remembers the file', async () => {
  const { made } = await damagedStore();
  const output = made.file('old.qcow2');
  expect(await checkoutVersion(made.store, { revision: 'web~1', output, skipDamaged: true })).toMatchObject({
    damaged: [],
  });
  expect((await compare(made.store, { revision: 'web~1', other: output })).identical).toBe(true);
});

test('a file that skipDamaged has left zeros in does not count as the version', async () => {
  const { made } = await damagedStore();
  const output = made.file('out.raw');
  await checkoutVersion(made.store, { revision: 'web', output, skipDamaged: true });
  const { commit, unchanged } = await commitBytes(made, 'again', readFileSync(output));
  expect(unchanged).toBe(false);
  expect(commit).not.toBe(await git(made.path, 'rev-parse', 'web'));
});
