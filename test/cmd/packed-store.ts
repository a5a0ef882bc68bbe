import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { mixed, noise } from '../objects/noise.ts';
import type { Workplace } from './imgstore.ts';
import { CLUSTER } from './sample.ts';

/** A version of a disk that differs from the others by some hundred bytes of every cluster. */
export function editedDisk(version: number, clusters = 12): Buffer {
  const bytes = mixed(clusters * CLUSTER, 1);
  for (let at = 0; at < bytes.length; at += CLUSTER)
    noise(400, version * clusters + at).copy(bytes, at + 1000 * version);
  return bytes;
}

/** Commits versions [0, count) of the disk to the branch `web`. */
export async function commitVersions(place: Workplace, count: number, from = 0): Promise<void> {
  for (let version = from; version < from + count; version++) {
    await writeFile(place.path('web.raw'), editedDisk(version));
    await place.ok('commit', 'web.raw', '-m', `version ${version}`);
  }
}

/** Fails unless each of `count` versions comes back as it was committed. */
export async function expectVersions(place: Workplace, count: number): Promise<void> {
  for (let version = 0; version < count; version++) {
    const { bytes, stderr } = await place.run('cat', `web~${count - 1 - version}`);
    if (stderr !== '' || !bytes.equals(editedDisk(version))) throw new Error(`version ${version}: ${stderr}`);
  }
}

/** Names of a store's packs, without ending. */
export function packNames(place: Workplace): string[] {
  return readdirSync(place.path('.imgstore/objects/pack'))
    .filter((name) => name.endsWith('.pack'))
    .map((name) => name.slice(0, -'.pack'.length))
    .sort();
}

/** For each object of all packs how many deltas lead to it, by git's reckoning. @param type only objects of this type */
export function gitDepths(place: Workplace, type?: 'blob'): number[] {
  return packNames(place).flatMap((name) =>
    place
      .git('verify-pack', '-v', place.path('.imgstore/objects/pack', `${name}.idx`))
      .split('\n')
      .map((line) => line.trim().split(/ +/))
      .filter(([id, found]) => /^[0-9a-f]{64}$/.test(id!) && (type ?? found) === found)
      .map((fields) => Number(fields[5] ?? 0)),
  );
}

/** Bytes of all loose objects, packs and their indexes, as du has them. */
export function objectBytes(place: Workplace): number {
  const lines = execFileSync('du', ['-ab', place.path('.imgstore/objects')], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return lines
    .map((line) => line.split('\t') as [string, string])
    .filter(([, path]) => statSync(path).isFile() && !path.endsWith('/multi-pack-index'))
    .reduce((sum, [bytes]) => sum + Number(bytes), 0);
}

/** Makes a setting of the store. */
export function configure(place: Workplace, settings: Readonly<Record<string, string | number>>): void {
  for (const [key, value] of Object.entries(settings)) place.git('config', `imgstore.${key}`, String(value));
}
