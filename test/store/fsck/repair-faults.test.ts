import { readdirSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { packStore, repairStore, Store } from '../../../store/index.ts';
import { failAtEach } from '../../files/fault.ts';
import { noise } from '../../qcow2/qemu.ts';
import { git, gitFsck } from '../git.ts';
import { commitBytes, newStore, SMALL } from '../new-store.ts';
import { copyOf, flipBit, fsck, patch } from './store-copies.ts';

test('repairStore loses nothing and can be run again when the disk fails at any point', async () => {
  const made = await newStore(SMALL, { unpackLimit: 1 });
  const disk = noise(SMALL * 8, 1);
  await commitBytes(made, 'web', disk);
  await packStore(made.store);
  noise(60, 2).copy(disk, 5000);
  await commitBytes(made, 'web', disk);
  await git(made.path, 'multi-pack-index', 'write');
  const folder = join(made.path, 'objects/pack');
  const [one, two] = readdirSync(folder).filter((name) => name.endsWith('.pack'));
  patch(join(folder, one!), (bytes) => bytes.fill(0, 2000, 2010));
  flipBit(join(folder, two!.replace('.pack', '.idx')), 8 * 1100);
  rmSync(join(made.path, 'refs/heads/web'));
  await writeFile(join(made.path, 'refs/heads/web'), 'nonsense');
  const image = made.file('image.raw');
  await writeFile(image, disk);
  const before = await fsck(made.path);
  const lost = new Set(
    [...before.missing, ...before.damaged.filter((each) => each.lost)].map(({ id }) => id),
  );
  expect(before.damaged.length).toBeGreaterThan(0);

  let path = await copyOf(made.path);
  const failed = await failAtEach(
    async () => {
      path = await copyOf(made.path);
      const store = await Store.open(path);
      try {
        await repairStore(store, { from: [image] });
      } finally {
        store.close();
      }
    },
    async (error, point) => {
      // Where a failure does no harm, such as that of a cache, the repair goes on.
      if (error !== undefined) expect(error, point).toBeInstanceOf(ImgstoreError);
      const after = await fsck(path);
      const more = [...after.missing, ...after.damaged.filter((each) => each.lost)].map(({ id }) => id);
      expect(
        more.filter((id) => !lost.has(id)),
        point,
      ).toEqual([]);
      const store = await Store.open(path);
      const report = await repairStore(store, { from: [image] });
      store.close();
      expect(report.clean, `${point}: ${JSON.stringify(report)}`).toBe(true);
      await gitFsck(path);
    },
  );
  expect(failed.length).toBeGreaterThan(20);
});
