import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ImgstoreError } from '../../../errors/index.ts';
import { syncFile, syncFolder } from '../../../files/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import { describeImage } from '../../../qcow2/index.ts';
import { openDisk } from '../../commit/open-disk.ts';
import type { VersionDisk } from '../../version/version.ts';
import { type BaseFile, baseName, writeBaseFiles } from '../base-file.ts';
import { formatFromName, nameFrom } from '../checkout.ts';
import { type CheckoutJob, countClusters } from '../job.ts';
import { Outputs } from '../outputs.ts';
import { refuseInStore, refuseOwnBacking } from '../refuse-output.ts';

/** What a new base file is made for. */
export interface NewBaseJob extends Pick<CheckoutJob, 'store' | 'workers' | 'monitor' | 'allowBacking'> {
  readonly overlay: string;
}

/** Where the new base file is, or goes: beside the overlay, in the folder that is named, or just there. @throws ImgstoreError `USAGE` */
export async function newBasePath(
  { overlay, base }: { readonly overlay: string; readonly base?: string | undefined },
  commit: ObjectId,
  disk: VersionDisk,
): Promise<string> {
  const name = baseName(commit, disk);
  if (base === undefined) return join(dirname(resolve(overlay)), name);
  const isFolder = await stat(base).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (isFolder || base.endsWith('/')) return join(base, name);
  if (!existsSync(base) && formatFromName(base) === 'raw')
    throw new ImgstoreError('USAGE', `${base}: a new base file is a qcow2: name it so`, { path: base });
  return base;
}

/** Makes the new base file, or makes sure that it holds the version. It is on the disk before the overlay stands on it. @throws ImgstoreError `EXISTS`, `USAGE`, `DAMAGED`, `IO` */
export async function makeNewBase({ overlay, ...job }: NewBaseJob, base: BaseFile): Promise<void> {
  const { store, allowBacking } = job;
  await refuseInStore(base.path, store.folder);
  await refuseOwnBacking(overlay, await chainOf(base.path, allowBacking));
  const clusters = await countClusters(store, base.disk, false);
  const outputs = new Outputs();
  const options = { force: false, readOnly: true, compress: undefined, damage: undefined };
  try {
    const plan = { forksOnly: false, depth: undefined };
    await writeBaseFiles({ ...job, ...base, ...options, clusters, outputs }, [base], plan);
    await outputs.publish();
  } finally {
    await outputs.discard();
  }
  await syncWithName(base.path);
}

/** How the overlay's header names the file. */
export async function backingNameFor(
  overlay: string,
  path: string,
): Promise<{ readonly file: string; readonly format: 'qcow2' | 'raw' }> {
  const { format } = await describeImage(path);
  return { file: await nameFrom(overlay, path), format };
}

/** Real paths of a file and of all that it stands on; of one that is not there its own. */
async function chainOf(path: string, allowBacking: readonly string[]): Promise<readonly string[]> {
  const isThere = await stat(path).then(
    () => true,
    () => false,
  );
  if (!isThere) return [path];
  // It may stand on the overlay, on which the lock is ours.
  const file = await openDisk(path, { allowBacking, forceShare: true });
  await file.source.close();
  return file.paths;
}

/** Makes a file last through a failure of the power, with its name. */
async function syncWithName(path: string): Promise<void> {
  await syncFile('rebase', path);
  await syncFolder('rebase', dirname(resolve(path)));
}
