import { rmSync, utimesSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { oneLine } from './imgstore.ts';
import { sampleStores } from './sample.ts';

const sample = sampleStores();

test('gc --json tells what it removed, and git finds the store whole', async () => {
  const place = await sample();
  await place.ok('branch', '-d', 'db');
  expect(await place.json('gc')).toMatchObject({ removed: 0, unreachable: expect.any(Number) });
  const before = Number(/^count: (\d+)$/m.exec(place.git('count-objects', '-v'))![1]);
  const result = await place.json('gc', '--prune=now');
  expect(Object.keys(result)).toEqual([
    'removed',
    'rewritten',
    'unreachable',
    'packs',
    'storedBytesBefore',
    'storedBytesAfter',
    'seconds',
    'heldBack',
  ]);
  expect(result).toMatchObject({ unreachable: 0, rewritten: 0, packs: 0 });
  expect(Number(/^count: (\d+)$/m.exec(place.git('count-objects', '-v'))![1])).toBe(before - result.removed);
  expect(result.removed).toBeGreaterThan(4);
  place.fsck();
  expect(place.git('fsck', '--unreachable')).toBe('');
});

test('gc tells people how much room it freed, and how much waits', async () => {
  const place = await sample();
  expect(await place.ok('gc')).toMatch(/^removed 0 objects: /);
  await place.ok('branch', '-d', 'db');
  expect(await place.ok('gc')).toMatch(/^removed 0 objects, \d+ that nothing leads to stay for now: /);
  expect(await place.ok('gc', '--prune=now')).toMatch(/^removed \d\d? objects: .* -> .* \(0\.\d s\)\n$/);
});

test('gc says which process keeps it from removing what was asked for', async () => {
  const place = await sample();
  const path = place.path('.imgstore/imgstore/work/writes_1');
  writeFileSync(path, '4242 elsewhere another-boot.4026531836.- 12345\nwrites\n');
  const time = new Date('2025-06-01T12:00:00Z');
  utimesSync(path, time, time);
  expect(await place.ok('gc', '--prune=now')).not.toContain('elsewhere');
  await place.ok('branch', '-d', 'db');
  expect(await place.ok('gc', '--prune=now')).toMatch(
    /^removed 0 objects, .*\nwhat was used since 2025-06-01T12:00:00.000Z stays: process 4242 on elsewhere .* remove \S+\/writes_1\n$/,
  );
  expect((await place.json('gc', '--prune=now')).heldBack).toMatchObject({ pid: 4242, host: 'elsewhere' });
  rmSync(path);
  expect(await place.ok('gc', '--prune=now')).toMatch(/^removed [1-9]/);
  place.fsck();
});

test('gc refuses a time that is none, and says what one looks like', async () => {
  const place = await sample();
  const outcome = await place.run('gc', '--prune=tomorrow');
  expect(outcome.status).toBe(2);
  expect(oneLine(outcome)).toMatch(/'tomorrow' is no time.*2w/);
});

test('gc of a damaged store removes nothing and says what to run', async () => {
  const place = await sample();
  writeFileSync(place.path('.imgstore/refs/heads/bad'), 'x\n');
  const before = place.git('count-objects');
  const outcome = await place.run('gc', '--prune=now');
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toMatch(/nothing was removed.*imgstore fsck/);
  expect(place.git('count-objects')).toBe(before);
});
