import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { addRemote, checkStore, pushRefs, repairStore } from '../../../store/index.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen } from '../new-store.ts';

test('repairStore takes what is lost out of another store that is a remote: clusters, maps and the commit itself', async () => {
  const [place, other] = [await newStore(), await newStore()];
  await commitBytes(place, 'web', diskOf([1, 2, 3, 0, 4]));
  await addRemote(place.store, 'copy', other.path);
  const withRemote = await reopen(place.path);
  await pushRefs(withRemote, { remote: 'copy', refs: ['web'] });
  const ids = [...withRemote.objects.loose.ids()];
  for (const id of ids) await rm(withRemote.objects.loose.path(id));
  const damaged = await reopen(place.path);
  expect((await checkStore(damaged, {})).clean).toBe(false);
  const report = await repairStore(await reopen(place.path), { from: ['copy'] });
  expect(report.clean).toBe(true);
  expect(report.healed).toBe(ids.length);
  await git(place.path, 'fsck', '--full', '--strict');
});
