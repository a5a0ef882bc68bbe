import { join } from 'node:path';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import { makeMissingFolders } from '../../files/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { Monitor } from '../progress.ts';
import { resolveCommit } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { readAttachment } from '../version/attachment.ts';
import { isEntryName } from '../version/image-json.ts';
import { readVersion, type Version } from '../version/version.ts';
import { type CheckoutRequest, type CheckoutResult, checkoutVersion } from './checkout.ts';
import { refuseTaken } from './output-file.ts';
import { Outputs } from './outputs.ts';
import { refuseInStore } from './refuse-output.ts';

/** A version with all that belongs to it. `output` is the folder, which is made when it is not there. */
export type CheckoutAllRequest = Omit<CheckoutRequest, 'output' | 'disk'> & { readonly output: string };

export interface CheckoutAllResult {
  /** As given. */
  readonly folder: string;
  readonly commit: ObjectId;
  /** In the order of the version. */
  readonly disks: readonly (CheckoutResult & { readonly disk: string })[];
  /** What was attached to the version. */
  readonly attachments: readonly { readonly name: string; readonly file: string }[];
  readonly seconds: number;
}

/** A file of the folder. */
interface Part {
  readonly name: string;
  readonly file: string;
}

/**
 * Writes all disks of a version into a folder, each named after itself, and what was attached beside them. Nothing is written when a file is in the way; a failure later leaves the disks that were complete.
 * @throws ImgstoreError `NOT_FOUND`, `EXISTS`, `USAGE`, `DAMAGED`, `IO`
 */
export async function checkoutAll(
  store: Store,
  request: CheckoutAllRequest,
  monitor: Monitor = {},
): Promise<CheckoutAllResult> {
  const started = performance.now();
  const { output: folder, format = 'qcow2', force = false } = request;
  const commit = await resolveCommit(store, request.revision);
  const version = readVersion(store.objects, commit);
  const disks = version.disks.map(({ name }) => ({ name, file: join(folder, `${name}.${format}`) }));
  const attachments = version.files.map(({ name }) => ({ name, file: join(folder, name) }));
  if (typeof request.backing === 'object' && disks.length > 1)
    throw new ImgstoreError('USAGE', '--backing FILE is for one disk: name it with --disk');
  refuseBadNames([...disks, ...attachments], version);
  await refuseInStore(folder, store.folder);
  await makeFolder(folder);
  // It may be the store's folder itself.
  for (const { file } of disks) await refuseInStore(file, store.folder);
  for (const { file } of [...disks, ...attachments]) await refuseTaken(file, force);

  const written: (CheckoutResult & { readonly disk: string })[] = [];
  for (const { name, file } of disks) {
    // By its id: a branch may move meanwhile.
    const one = { ...request, revision: commit, output: file, disk: name, format };
    written.push({ disk: name, ...(await checkoutVersion(store, one, monitor)) });
  }
  await writeAttachments(store, version, attachments, force);
  const seconds = (performance.now() - started) / 1000;
  return { folder, commit, disks: written, attachments, seconds };
}

function refuseBadNames(parts: readonly Part[], { id }: Version): void {
  const bad = parts.find(({ name }) => !isEntryName(name));
  if (bad !== undefined)
    throw new ImgstoreError('BAD_NAME', `version ${id.slice(0, 12)}: '${bad.name}' cannot name a file here`, {
      name: bad.name,
    });
  const files = parts.map(({ file }) => file);
  const twice = files.find((file, i) => files.indexOf(file) !== i);
  if (twice !== undefined)
    throw new ImgstoreError(
      'USAGE',
      `${twice}: a disk and an attachment would have this name: check the disks out one by one with --disk`,
      { path: twice },
    );
}

async function makeFolder(path: string): Promise<void> {
  try {
    await makeMissingFolders(path);
  } catch (error) {
    if (systemCode(error) === 'EEXIST' || systemCode(error) === 'ENOTDIR')
      throw new ImgstoreError('EXISTS', `${path}: is in the way: a folder is to be there`, { path }, error);
    throw fromSystem(error, path);
  }
}

async function writeAttachments(
  store: Store,
  version: Version,
  attachments: readonly Part[],
  force: boolean,
): Promise<void> {
  const outputs = new Outputs();
  try {
    for (const { name, file } of attachments) {
      const bytes = await readAttachment(store.objects, version, name);
      const plan = { path: file, force, readOnly: false, onPublished: async () => {} };
      await outputs.write(plan, async (pending) => {
        await pending.write(0, bytes);
        return bytes.length;
      });
    }
    await outputs.publish();
  } finally {
    await outputs.discard();
  }
}
