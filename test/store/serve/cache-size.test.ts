import { expect, test } from 'vitest';
import { defaultCacheBytes } from '../../../store/serve/cache-size.ts';

const MIB = 2 ** 20;

test.each([
  [256 * MIB, 64 * MIB],
  [1024 * MIB, 64 * MIB],
  [2048 * MIB, 128 * MIB],
  [4096 * MIB + 1, 256 * MIB],
  [8192 * MIB, 512 * MIB],
  [2 ** 20 * MIB, 512 * MIB],
])('defaultCacheBytes is a share of the memory within bounds when there are %i bytes', (memory, bytes) => {
  expect(defaultCacheBytes(memory)).toBe(bytes);
});

test('defaultCacheBytes is within bounds on this machine', () => {
  expect(defaultCacheBytes()).toBeGreaterThanOrEqual(64 * MIB);
  expect(defaultCacheBytes()).toBeLessThanOrEqual(512 * MIB);
});
