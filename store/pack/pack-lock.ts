import { join } from 'node:path';
import { LockFile, makeInFolder } from '../../files/index.ts';
import type { Store } from '../store.ts';

/**
 * The right to pack a store: `imgstore/locks/pack.lock`. It is not waited for unless that is asked for, since packing takes long and once is enough.
 * @throws ImgstoreError `BUSY` when another process packs this store, `INTERRUPTED`, `IO`
 */
export function takePackLock({ folder, rules }: Store): Promise<LockFile> {
  const path = join(folder, 'imgstore', 'locks', 'pack');
  return makeInFolder('pack-lock', path, () => LockFile.take('pack-lock', path, rules, 0), rules);
}
