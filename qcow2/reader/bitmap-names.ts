import type { BlockSource } from '../../block/index.ts';
import { hasQcowMagic, V2_HEADER_BYTES } from '../meta/layout.ts';
import { readBitmaps } from './bitmaps.ts';
import { readHeader } from './image.ts';

/** Names of the persistent bitmaps of an image; none of what is no qcow2. @throws ImgstoreError `BAD_IMAGE`, `IO` */
export async function readBitmapNames(host: BlockSource, image: string): Promise<readonly string[]> {
  if (host.size < V2_HEADER_BYTES) return [];
  const magic = Buffer.alloc(4);
  await host.read(0, magic);
  if (!hasQcowMagic(magic)) return [];
  return (await readBitmaps(host, await readHeader(host, image), image)).map(({ name }) => name);
}
