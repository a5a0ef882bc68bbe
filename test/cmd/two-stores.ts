import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';

/** A store in `a`, with `web`, that was pushed to `remote.git`, and a store in `b` cloned from there. */
export async function twoStores(): Promise<Workplace> {
  const place = await Workplace.create();
  spawnSync('git', ['init', '-q', '--bare', '--object-format=sha256', place.path('remote.git')]);
  await place.ok('init', 'a');
  await writeDisk(place, 'web.raw', 1, undefined, 2);
  await place.ok('--store', 'a', 'commit', 'web.raw', '-m', 'first');
  await place.ok('--store', 'a', 'remote', 'add', 'origin', 'remote.git');
  await place.ok('--store', 'a', 'push');
  await place.ok('clone', 'remote.git', 'b');
  return place;
}

/** Temporary files and folders below a store, and what is announced. */
export function leftovers(place: Workplace, store: string): string[] {
  const names = readdirSync(place.path(store, '.imgstore'), { recursive: true }) as string[];
  return names.filter((name) => /tmp_|\.lock$|imgstore\/work\/./.test(name));
}
