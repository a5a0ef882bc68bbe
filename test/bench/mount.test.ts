import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { importBench } from './results.ts';

const { readMounted } = await importBench<{
  readMounted: (program: object, at: string, image: string, use: () => object) => Promise<object>;
}>('mount.mjs');

test.each([
  ['ends at once', ['sh', '-c', 'echo first >&2; echo cannot mount >&2; exit 1'], 'cannot mount'],
  ['is not there', ['imgstore-no-such-program'], 'spawn imgstore-no-such-program ENOENT'],
])('readMounted says why when the program %s', async (_, command, why) => {
  const at = join(await temporaryFolder(), 'mounted');
  const reading = readMounted({ command, tree: at }, at, 'disk.raw', () => ({}));
  await expect(reading).rejects.toThrow(existsSync('/dev/fuse') ? why : 'no /dev/fuse');
  expect(existsSync(at)).toBe(false);
});
