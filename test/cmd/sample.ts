import { cp, writeFile } from 'node:fs/promises';
import { noise } from '../objects/noise.ts';
import { sharedWorkplace, Workplace } from './imgstore.ts';

export const CLUSTER = 65536;

/** A disk of clusters: a number is the seed of a cluster of noise, undefined a cluster of zeros. */
export function disk(...seeds: readonly (number | undefined)[]): Buffer {
  return Buffer.concat(
    seeds.map((seed) => (seed === undefined ? Buffer.alloc(CLUSTER) : noise(CLUSTER, seed))),
  );
}

/** Writes such a disk as a raw file. */
export async function writeDisk(
  place: Workplace,
  name: string,
  ...seeds: readonly (number | undefined)[]
): Promise<void> {
  await writeFile(place.path(name), disk(...seeds));
}

/**
 * A store with two versions of `web` (three clusters; the second one changes), a fork `web-test` of the first one, an image of two
 * disks with an attachment, and two tags.
 */
export async function fillSampleStore(place: Workplace): Promise<void> {
  await place.ok('init');
  await writeDisk(place, 'web.raw', 1, undefined, 2);
  await place.ok('commit', 'web.raw', '-m', 'first\n\nwith a body');
  await writeDisk(place, 'web.raw', 1, 3, undefined);
  await place.ok('commit', 'web.raw', '-m', 'second');
  await writeDisk(place, 'fork.raw', 4, undefined, 2);
  await place.ok('commit', 'fork.raw', '-b', 'web-test', '--parent', 'web~1', '-m', 'a fork');
  await writeDisk(place, 'b.raw', 5);
  await writeFile(place.path('domain.xml'), '<domain/>\n');
  await place.ok(
    'commit',
    'web.raw',
    'b.raw',
    '-b',
    'db',
    '--attach',
    'domain.xml=domain.xml',
    '-m',
    'two disks',
  );
  await place.ok('tag', 'v1', 'web~1');
  await place.ok('tag', 'v2', 'web', '-m', 'the second');
}

/** Gives each test that asks a {@link fillSampleStore | sample store} of its own; it is made once and copied. */
export function sampleStores(): () => Promise<Workplace> {
  const template = sharedWorkplace(fillSampleStore);
  return async () => {
    const place = await Workplace.create();
    await cp(template().folder, place.folder, { recursive: true, preserveTimestamps: true });
    return place;
  };
}
