import { chmodSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { expect, test } from 'vitest';
import { oneLine, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

/** A store with an image `kept` in one pack and an image `lost` in another, whose path without ending comes back. */
async function twoPacks(): Promise<{ place: Workplace; stem: string }> {
  const place = await Workplace.withStore();
  place.git('config', 'imgstore.unpackLimit', '1');
  const packs = () =>
    readdirSync(place.path('.imgstore/objects/pack')).filter((name) => name.endsWith('.pack'));
  await writeDisk(place, 'kept.raw', 1, 2, 3);
  await place.ok('commit', 'kept.raw', '-m', 'kept');
  const before = packs();
  await writeDisk(place, 'lost.raw', 4, 5, 6);
  await place.ok('commit', 'lost.raw', '-m', 'lost');
  const name = packs().find((pack) => !before.includes(pack))!;
  const stem = place.path('.imgstore/objects/pack', name.slice(0, -'.pack'.length));
  for (const ending of ['pack', 'idx']) chmodSync(`${stem}.${ending}`, 0o644);
  return { place, stem };
}

test.each<[string, (stem: string) => void]>([
  ['truncated index', (stem) => truncateSync(`${stem}.idx`, 1200)],
  ['truncated pack', (stem) => truncateSync(`${stem}.pack`, 5000)],
  ['missing pack', (stem) => rmSync(`${stem}.pack`)],
])(
  'a %s is left out with one notice, and images in other packs are read and committed',
  async (_, damage) => {
    const { place, stem } = await twoPacks();
    damage(stem);
    const checkout = await place.run('checkout', 'kept', '-o', 'out.raw');
    expect(checkout.status).toBe(0);
    expect(checkout.stderr).toMatch(/^a pack is left out: [^\n]*\n$/);
    expect(checkout.stderr).toContain(stem);
    expect(readFileSync(place.path('out.raw')).equals(readFileSync(place.path('kept.raw')))).toBe(true);

    // On the branch, and on a new one, which is compared with all versions there are.
    await writeDisk(place, 'kept.raw', 1, 2, 7);
    await place.ok('commit', 'kept.raw', '-m', 'more');
    await writeDisk(place, 'new.raw', 8);
    await place.ok('commit', 'new.raw', '-m', 'new');
    await place.ok('compare', 'new', 'new.raw');

    const lost = await place.run('checkout', 'lost', '-o', 'lost-out.raw', '-q');
    expect(lost.status).toBe(1);
    expect(oneLine(lost)).toContain(`is not in the store, unless in a pack that is left out: ${stem}`);
  },
);

test('an image comes back from a pack whose index is made anew as the notice says', async () => {
  const { place, stem } = await twoPacks();
  rmSync(`${stem}.idx`);
  const lost = await place.run('checkout', 'lost', '-o', 'out.raw');
  const [, store] = /has no index: .*imgstore --store (\S+) fsck --repair/.exec(oneLine(lost))!;
  await place.ok('--store', store!, 'fsck', '--repair');
  await place.ok('checkout', 'lost', '-o', 'out.raw');
  expect(readFileSync(place.path('out.raw')).equals(readFileSync(place.path('lost.raw')))).toBe(true);
});
