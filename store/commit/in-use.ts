import { usedByQemu } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';

/**
 * Refuses to read a file that a running QEMU has open for writing: its bytes are not those of any one moment.
 * @throws ImgstoreError `IN_USE`
 */
export async function refuseInUse(path: string): Promise<void> {
  if ((await usedByQemu(path)) === 'writing') throw inUseByQemu(path);
}

/** What is said of such a file. */
export function inUseByQemu(path: string): ImgstoreError {
  return new ImgstoreError(
    'IN_USE',
    `${path}: a running QEMU has it open for writing: stop the machine, or read it as it is now, which commit and compare do with --force-share`,
    { path },
  );
}
