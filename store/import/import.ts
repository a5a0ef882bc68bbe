import { counted, ImgstoreError } from '../../errors/index.ts';
import { isNbdUri } from '../../nbd/index.ts';
import { type ImageFormat, Qcow2Image } from '../../qcow2/index.ts';
import { ENCRYPTED_NOTICE, type OpenDiskOptions } from '../commit/disk.ts';
import { knownBase } from '../commit/known-disk.ts';
import { type OpenChain, openChain } from '../commit/open-chain.ts';
import { branchTip } from '../history/tips.ts';
import type { Monitor } from '../progress.ts';
import { BRANCHES, branchFromFile, fullRefName, shortRefName } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { isEntryName } from '../version/image-json.ts';
import type { ImportedVersion } from './imported-version.ts';
import { ImportRun } from './run.ts';
import { refuseSnapshotsOfRaw, statesOf, type WhatToImport } from './states.ts';
import { planTags } from './tags.ts';

export interface ImportRequest extends Omit<OpenDiskOptions, 'format'> {
  /** A qcow2 or raw image. */
  readonly path: string;
  readonly format?: ImageFormat | undefined;
  /** Each layer of the chain becomes a version. What the image has, when neither this nor {@link snapshots} is said. */
  readonly chain?: boolean | undefined;
  /** Each internal snapshot becomes a version, with a tag. */
  readonly snapshots?: boolean | undefined;
  /** The file's name without its ending when not given. */
  readonly branch?: string | undefined;
  /** Of every version, before the line that says what it was made of. */
  readonly message?: string | undefined;
  /** The disk's name in the versions: `vda` when not given. */
  readonly disk?: string | undefined;
  /** What the names of tags begin with. */
  readonly tagPrefix?: string | undefined;
}

/**
 * Makes a history of what an image holds: the layers of its chain, from the lowest up, its internal snapshots by their dates, and its present state. Of each state only what differs from the one before is read.
 *
 * The branch and the tags move to a version as soon as it is whole: what an interrupted import has stored stays, and another one goes on from there.
 * @throws ImgstoreError `USAGE`, `BAD_NAME`, `EXISTS` for a tag of another version, `IN_USE`, `REF_MOVED`, `IO`, `INTERRUPTED`, and what opening an image throws
 */
export async function importImage(
  store: Store,
  request: ImportRequest,
  monitor: Monitor = {},
): Promise<ImportedVersion[]> {
  const { path, disk = 'vda', tagPrefix = '' } = request;
  refuseBadRequest(path, disk);
  const ref = fullRefName(BRANCHES, request.branch ?? branchFromFile(path));
  const tip = await branchTip(store, ref);
  if (tip === undefined) await store.refs.refuseConflict(ref);
  const chain = await openChain(path, request.format, request);
  try {
    const what = whatToImport(chain, request, monitor);
    const states = await statesOf(chain, what);
    for (const notice of noticesOf(chain, what, states)) monitor.onNotice?.(notice);
    const tags = await planTags(store, states, tagPrefix, disk, shortRefName(ref));
    const base = what.chain ? undefined : await knownBase(store, chain);
    const options = { ref, tip, disk, message: request.message, base };
    const run = await ImportRun.begin({ store, chain, states, tags, options }, monitor);
    try {
      return await run.importAll();
    } finally {
      await run.end();
    }
  } finally {
    await chain.image.source.close();
  }
}

function refuseBadRequest(path: string, disk: string): void {
  if (isNbdUri(path))
    throw new ImgstoreError(
      'USAGE',
      `${path}: an NBD server shows no history: store its disk with 'imgstore commit'`,
      {
        uri: path,
      },
    );
  if (isEntryName(disk)) return;
  throw new ImgstoreError('BAD_NAME', `'${disk}' cannot name a disk: use letters, digits, '.', '_' and '-'`, {
    name: disk,
  });
}

/** What the user asks for, or all that the image has. */
function whatToImport(chain: OpenChain, request: ImportRequest, { onNotice }: Monitor): WhatToImport {
  const { path, image } = chain;
  if (request.snapshots) refuseSnapshotsOfRaw(chain);
  const snapshots = image.facts.qcow2?.snapshots ?? 0;
  if (request.chain !== undefined || request.snapshots !== undefined) {
    if (request.chain && image.layers.length === 1) onNotice?.(`${path}: has no backing file`);
    if (request.snapshots && snapshots === 0) onNotice?.(`${path}: has no internal snapshots`);
    return { chain: request.chain ?? false, snapshots: request.snapshots ?? false };
  }
  onNotice?.(
    `${path}: its history is ${counted(image.layers.length, 'layer')} and ${counted(snapshots, 'internal snapshot')}`,
  );
  return { chain: image.layers.length > 1, snapshots: snapshots > 0 };
}

/** What of the image is not stored. */
function noticesOf(
  chain: OpenChain,
  what: WhatToImport,
  states: Awaited<ReturnType<typeof statesOf>>,
): string[] {
  const { path, image, isEncrypted } = chain;
  const notices = isEncrypted ? [`${path}: ${ENCRYPTED_NOTICE}`] : [];
  for (const { path: file, source } of image.layers) {
    const left = source instanceof Qcow2Image ? source.header.snapshotCount : 0;
    const isTop = source === image.source;
    if (left === 0 || (isTop && what.snapshots)) continue;
    const how = isTop ? 'pass --snapshots' : 'import that file by itself';
    notices.push(`${file}: ${counted(left, 'internal snapshot')} left out: ${how}`);
  }
  const saved = states.filter(({ snapshot }) => (snapshot?.vmStateSize ?? 0) > 0).length;
  if (saved > 0)
    notices.push(
      `${path}: ${counted(saved, 'snapshot')} with the memory of a running machine: only the disk is stored`,
    );
  return notices;
}
