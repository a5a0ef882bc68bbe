import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { RawFile } from '../../../block/index.ts';
import { systemCode } from '../../../errors/index.ts';
import { unsupportedForeign } from '../fault.ts';

/** Beside the images of one disk: which stands on which (Parallels' disk bundle, `name.hdd/`). */
const BUNDLE_DESCRIPTOR = 'DiskDescriptor.xml';

/**
 * Refuses an image of a bundle that has several: each holds only the changes to another, and says nothing of it itself.
 * @throws ImgstoreError `UNSUPPORTED`
 */
export async function checkParallels(file: RawFile, path: string): Promise<void> {
  const images = await countBundleImages(join(dirname(file.path), BUNDLE_DESCRIPTOR));
  if (images <= 1) return;
  throw unsupportedForeign(
    path,
    `is one of ${images} images in ${BUNDLE_DESCRIPTOR}, which stand on each other: merge the snapshots in Parallels first`,
  );
}

async function countBundleImages(descriptor: string): Promise<number> {
  try {
    const text = await readFile(descriptor, 'latin1');
    return text.match(/<Image>/g)?.length ?? 0;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR', 'EACCES'].includes(systemCode(error) ?? '')) return 0;
    throw error;
  }
}
