import { expect, test } from 'vitest';
import { pause } from '../../files/pause.ts';

test('pause throws what it is told to when the caller stops, before or meanwhile, and ends by itself otherwise', async () => {
  const stopped = new Error('stopped');
  await expect(pause(60_000, AbortSignal.abort(), () => stopped)).rejects.toBe(stopped);
  await expect(pause(60_000, AbortSignal.timeout(5), () => stopped)).rejects.toBe(stopped);
  await expect(pause(1, new AbortController().signal, () => stopped)).resolves.toBeUndefined();
  await expect(pause(1, undefined, () => stopped)).resolves.toBeUndefined();
});
