import { readdirSync, readlinkSync } from 'node:fs';
import { PackFolder, writeMidx } from '../../../pack/index.ts';
import { type SampleObject, sampleObject, writePack } from '../pack-objects.ts';

/** Three objects that no other number gives. */
export function objectsOf(number: number): SampleObject[] {
  return [0, 1, 2].map((n) => sampleObject('blob', Buffer.from(`object ${n} of pack ${number}`)));
}

/** Writes packs of the numbers [from, to), and returns their objects. */
export async function writePacks(folder: string, from: number, to: number): Promise<SampleObject[]> {
  const objects: SampleObject[] = [];
  for (let number = from; number < to; number++) {
    await writePack(folder, objectsOf(number));
    objects.push(...objectsOf(number));
  }
  return objects;
}

/** Writes the multi-pack-index of a folder over all packs that it has. */
export async function coverAll(folder: string): Promise<void> {
  const packs = new PackFolder(folder);
  await writeMidx(folder, packs.packs());
  packs.close();
}

/** Names of the files of a folder that this process has open. */
export function openFiles(folder: string): string[] {
  return readdirSync('/proc/self/fd')
    .flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        // The descriptor of the listing itself.
        return [];
      }
    })
    .filter((path) => path.startsWith(`${folder}/`))
    .map((path) => path.slice(folder.length + 1))
    .sort();
}
