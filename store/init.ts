import { existsSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../errors/index.ts';
import { makeFolder, passPoint, syncFolder, writeWholeFile } from '../files/index.ts';
import { STORE_VERSION } from './config/format.ts';
import { STORE_FOLDER } from './location.ts';
import { DEFAULT_CLUSTER_SIZE, Store } from './store.ts';
import { isClusterSize } from './version/image-json.ts';

/** Folders of a new store: what git wants in a repository, and our own. */
const FOLDERS = ['objects/pack', 'objects/info', 'refs/heads', 'refs/tags', 'logs', 'imgstore'];

/** Where `HEAD` points before there is a version; the first branch takes its place. */
export const UNBORN_BRANCH = 'refs/heads/main';

export interface InitOptions {
  /** Bytes; 64 KiB when not given. */
  readonly clusterSize?: number | undefined;
}

/**
 * Makes a store in `folder`: `.imgstore`, a bare git repository in SHA-256 format. It is made beside its place and renamed, so that
 * nobody sees a part of one.
 * @throws ImgstoreError `EXISTS`, `USAGE` for a cluster size that cannot be, `IO`
 */
export async function initStore(folder: string, options: InitOptions = {}): Promise<Store> {
  const clusterSize = options.clusterSize ?? DEFAULT_CLUSTER_SIZE;
  if (!isClusterSize(clusterSize)) {
    throw new ImgstoreError('USAGE', `cluster size ${clusterSize}: must be a power of two from 4K to 2M`, {
      clusterSize,
    });
  }
  const path = join(resolve(folder), STORE_FOLDER);
  if (existsSync(path)) throw exists(path);
  const unfinished = `${path}.tmp-${process.pid}`;
  try {
    await makeFolder('init', resolve(folder));
    for (const each of FOLDERS) {
      passPoint('init.create', join(unfinished, each));
      await mkdir(join(unfinished, each), { recursive: true });
    }
    await writeWholeFile('init', join(unfinished, 'HEAD'), Buffer.from(`ref: ${UNBORN_BRANCH}\n`));
    await writeWholeFile('init', join(unfinished, 'config'), Buffer.from(configText(clusterSize)));
    const description = 'Versions of disk images, kept by imgstore.\n';
    await writeWholeFile('init', join(unfinished, 'description'), Buffer.from(description));
    for (const each of ['', 'objects', 'refs', ...FOLDERS]) await syncFolder('init', join(unfinished, each));
    passPoint('init.rename', path);
    await rename(unfinished, path);
    await syncFolder('init', resolve(folder));
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true }).catch(() => {});
    // Another process was faster: its store is complete.
    if (['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '')) throw exists(path);
    throw fromSystem(error, path);
  }
  return Store.open(path);
}

function exists(path: string): ImgstoreError {
  return new ImgstoreError('EXISTS', `${path}: a store is here already`, { path });
}

function configText(clusterSize: number): string {
  return `[core]
\trepositoryformatversion = 1
\tfilemode = true
\tbare = true
[extensions]
\tobjectformat = sha256
[gc]
\tauto = 0
[imgstore]
\tversion = ${STORE_VERSION}
\tclusterSize = ${clusterSize}
`;
}
