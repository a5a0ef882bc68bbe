import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../errors/index.ts';
import {
  makeFolder,
  passPoint,
  randomOwnerSuffix,
  removeLeftBehindIn,
  type Sharing,
  syncFolder,
  writeWholeFile,
} from '../files/index.ts';
import { loadConfig } from './config/config.ts';
import { STORE_VERSION } from './config/format.ts';
import { encodeSharing, parseSharing, sharingOf } from './config/sharing.ts';
import { STORE_FOLDER } from './location.ts';
import { DEFAULT_CLUSTER_SIZE, Store } from './store.ts';
import { isClusterSize } from './version/image-json.ts';

/** Folders of a new store: what git wants in a repository, and our own. */
const FOLDERS = [
  'objects/pack',
  'objects/info',
  'refs/heads',
  'refs/tags',
  'logs',
  'imgstore/locks',
  'imgstore/work',
];

/** Where `HEAD` points before there is a version; the first branch takes its place. */
export const UNBORN_BRANCH = 'refs/heads/main';

export interface InitOptions {
  /** Bytes; 64 KiB when not given. */
  readonly clusterSize?: number | undefined;
  /** Who else may use the store: a value of `core.sharedRepository`; as the user's and the system's git config say when not given. */
  readonly shared?: string | undefined;
}

/**
 * Makes a store in `folder`: `.imgstore`, a bare git repository in SHA-256 format. It is made beside its place and renamed, so that
 * nobody sees a part of one.
 * @throws ImgstoreError `EXISTS`, `USAGE` for a cluster size or sharing that cannot be, `IO`
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
  const sharing =
    options.shared === undefined
      ? sharingOf(await loadConfig(join(path, 'config')))
      : parseSharing(options.shared, '--shared', 'USAGE');
  const unfinished = `${path}.tmp${randomOwnerSuffix()}`;
  await removeLeftBehindIn('init', resolve(folder), `${STORE_FOLDER}.tmp_`);
  try {
    for (const each of FOLDERS) await makeFolder('init', join(unfinished, each), { sharing });
    const files = {
      HEAD: `ref: ${UNBORN_BRANCH}\n`,
      config: configText(clusterSize, sharing),
      description: 'Versions of disk images, kept by imgstore.\n',
    };
    for (const [name, text] of Object.entries(files))
      await writeWholeFile('init', join(unfinished, name), Buffer.from(text), sharing);
    for (const each of ['', ...FOLDERS]) await syncFolder('init', join(unfinished, each));
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

function configText(clusterSize: number, sharing: Sharing | undefined): string {
  // As git writes them into a shared repository: who pushes must not take versions from others.
  const shared =
    sharing === undefined
      ? ''
      : `\tsharedrepository = ${encodeSharing(sharing)}\n[receive]\n\tdenyNonFastforwards = true\n`;
  return `[core]
\trepositoryformatversion = 1
\tfilemode = true
\tbare = true
${shared}[extensions]
\tobjectformat = sha256
[gc]
\tauto = 0
[imgstore]
\tversion = ${STORE_VERSION}
\tclusterSize = ${clusterSize}
`;
}
