import { nodeDeflate, type ObjectType, objectId } from '../../objects/index.ts';
import { type PackableObject, PackWriter } from '../../pack/index.ts';
import { mixed, noise } from '../objects/noise.ts';

/** An object with its data, ready to be packed. */
export interface SampleObject extends PackableObject {
  readonly data: Buffer;
}

export function sampleObject(type: ObjectType, data: Buffer, level = 1): SampleObject {
  const deflated = nodeDeflate.deflate(data, level);
  return { id: objectId(type, data), type, size: data.length, deflated, data };
}

/** Objects of every type and of sizes from nothing to 2 MiB. */
export function sampleObjects(): SampleObject[] {
  const person = 'A <a@b> 1 +0000';
  const tree = sampleObject('tree', Buffer.alloc(0));
  const commit = sampleObject(
    'commit',
    Buffer.from(`tree ${tree.id}\nauthor ${person}\ncommitter ${person}\n\nmessage\n`),
  );
  const tag = Buffer.from(`object ${commit.id}\ntype commit\ntag v1\ntagger ${person}\n\nmessage\n`);
  const blobs = [0, 1, 15, 16, 2047, 2048, 65_536].map((size) => sampleObject('blob', mixed(size, size)));
  const large = [sampleObject('blob', noise(2 ** 21, 1), 0), sampleObject('blob', mixed(2 ** 21, 2))];
  return [tree, commit, sampleObject('tag', tag), ...blobs, ...large];
}

/** Writes a pack and returns its path without ending. */
export async function writePack(folder: string, objects: readonly PackableObject[]): Promise<string> {
  const writer = await PackWriter.create(folder);
  for (const object of objects) await writer.add(object);
  return (await writer.finish()).publish();
}
