import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FileBytes, Idx, scanPack } from '../../pack/index.ts';
import { noise } from '../qcow2/qemu.ts';
import { git } from '../store/git.ts';
import { commitBytes, newStore, SMALL } from '../store/new-store.ts';

/** A pack with chains of deltas, as git writes it. @param byId bases are named by id, not by distance */
async function gitPack(byId: boolean): Promise<string> {
  const made = await newStore();
  const disk = noise(SMALL * 10, 1);
  for (let version = 0; version < 6; version++) {
    noise(100, version + 2).copy(disk, 100 + SMALL * (version % 3));
    await commitBytes(made, 'web', disk);
  }
  await git(
    made.path,
    '-c',
    `repack.useDeltaBaseOffset=${!byId}`,
    'repack',
    '-adfq',
    '--depth=50',
    '--window=50',
  );
  const folder = join(made.path, 'objects/pack');
  const name = readdirSync(folder).find((each) => each.endsWith('.pack'))!;
  const chains = await git(made.path, 'verify-pack', '-v', join(folder, name));
  expect(chains).toMatch(/chain length = 2/);
  return join(folder, name).slice(0, -'.pack'.length);
}

test.each([
  ['by distance', false],
  ['by id', true],
])('scanPack makes the index that git made when bases are named %s', async (_, byId) => {
  const stem = await gitPack(byId);
  const scanned = await scanPack(`${stem}.pack`);
  expect(scanned.faults).toEqual([]);
  expect(scanned.encodeIdx().equals(readFileSync(`${stem}.idx`))).toBe(true);
  await git(
    '.',
    'index-pack',
    '--object-format=sha256',
    '--rev-index',
    '-o',
    `${stem}new.idx`,
    `${stem}.pack`,
  );
  expect(scanned.encodeRev().equals(readFileSync(`${stem}new.rev`))).toBe(true);
});

test('scanPack goes on behind a damaged entry when it is told where others begin', async () => {
  const stem = await gitPack(false);
  const file = new FileBytes(`${stem}.idx`);
  const idx = new Idx(file);
  const offsets = Array.from({ length: idx.count }, (_, position) => idx.offset(position)).sort(
    (a, b) => a - b,
  );
  file.close();
  const pack = readFileSync(`${stem}.pack`);
  pack.fill(0xff, offsets[4]! + 10, offsets[5]);
  writeFileSync(`${stem}.bad`, pack);
  const blind = await scanPack(`${stem}.bad`);
  expect(blind.entries.length).toBeLessThanOrEqual(4);
  expect(blind.faults[0]).toContain(`entry at ${offsets[4]}`);
  const led = await scanPack(`${stem}.bad`, offsets);
  expect(led.entries.length).toBeGreaterThan(blind.entries.length);
  for (const { id, offset } of led.entries) {
    expect(offsets).toContain(offset);
    expect(id).toMatch(/^[0-9a-f]{64}$/);
  }
});

test('scanPack finds nothing, and says so, in what is no pack', async () => {
  const stem = await gitPack(false);
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(20), noise(500, 1)]) {
    writeFileSync(`${stem}.bad`, bytes);
    const { entries, faults } = await scanPack(`${stem}.bad`);
    expect(entries).toEqual([]);
    expect(faults.length).toBeGreaterThan(0);
  }
});
