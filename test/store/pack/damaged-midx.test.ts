import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { MIDX_FILE, PackFolder, writeMidx } from '../../../pack/index.ts';
import { measureStore, Store } from '../../../store/index.ts';
import { diskOf } from '../disks.ts';
import { gitObjects } from '../git.ts';
import { commitBytes, newStore, SMALL } from '../new-store.ts';

/** A store with three packs, deltas in none, under one multi-pack-index; and what reading all of it gives. */
async function storeUnderMidx() {
  const made = await newStore(SMALL, { unpackLimit: 1 });
  for (const seeds of [[1, 2], [1, 3], [4]]) await commitBytes(made, 'web', diskOf(seeds));
  const folder = join(made.path, 'objects/pack');
  const packs = new PackFolder(folder);
  await writeMidx(folder, packs.packs());
  packs.close();
  const ids = (await gitObjects(made.path)).map((line) => line.split(' ')[0]!);
  const midx = join(folder, MIDX_FILE);
  return { path: made.path, midx, bytes: readFileSync(midx), ids };
}

/** All that a new process would find. */
async function lookAtAll(path: string, ids: readonly string[]) {
  const notices: string[] = [];
  const store = await Store.open(path, { onNotice: (notice) => notices.push(notice) });
  try {
    const objects = ids.map((id) => {
      const { type, data } = store.objects.read(id);
      return { id, type, data: Buffer.from(data).toString('base64'), header: store.objects.header(id) };
    });
    const prefixes = ids.map((id) => store.objects.withPrefix(id.slice(0, 12)));
    return { found: { objects, prefixes, stats: await measureStore(store) }, notices };
  } finally {
    store.close();
  }
}

test('Store finds every object, prefix and figure whichever byte of the multi-pack-index is damaged', async () => {
  const { path, midx, bytes, ids } = await storeUnderMidx();
  onTestFinished(() => rmSync(midx, { force: true }));
  const whole = await lookAtAll(path, ids);
  expect(whole.notices).toEqual([]);
  let noticed = 0;
  for (let at = 0; at < bytes.length; at++) {
    for (const flip of [1, 0x80, 0xff]) {
      // Of the checksum, and of the fan-out, one change is as good as another.
      if (flip !== 0xff && at % 4 !== 3) continue;
      const hostile = Buffer.from(bytes);
      hostile[at]! ^= flip;
      rmSync(midx);
      writeFileSync(midx, hostile);
      const { found, notices } = await lookAtAll(path, ids);
      expect(found, `byte ${at} ^ ${flip}`).toEqual(whole.found);
      for (const notice of notices) expect(notice).toMatch(/^[^\n]+$/);
      if (notices.length > 0) noticed++;
    }
  }
  expect(noticed).toBeGreaterThan(bytes.length / 2);
});
