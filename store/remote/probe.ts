import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { type Bucket, checkPlace, probeBucket } from '../../remote/index.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { openBucket } from './bucket/open-bucket.ts';
import { openTransport } from './open-transport.ts';
import type { Remote } from './remote.ts';
import { checkUrl } from './url.ts';

/**
 * Goes to a remote once, before it is entered into the config. Of a bucket it is tried whether it does what a remote needs, by races for a name above all.
 * @throws ImgstoreError `REMOTE_…`, `UNSUPPORTED`, `WRONG_KEY`, `NOT_FOUND` when it is not one
 */
export async function probeRemote(store: Store, remote: Remote, monitor: Monitor = {}): Promise<void> {
  if (checkUrl(remote.url) === 's3') {
    await withBucket(await openBucket(remote, remote.url, monitor), checkPlace);
    await withBucket(
      await openBucket({ ...remote, recipients: undefined, identity: undefined }, remote.url, monitor),
      refuseUnfit,
    );
    return;
  }
  const transport = await openTransport(store, remote, 'fetch', monitor);
  try {
    await transport.refs(monitor);
  } finally {
    await transport.close();
  }
}

async function withBucket(bucket: Bucket, work: (bucket: Bucket) => Promise<unknown>): Promise<void> {
  try {
    await work(bucket);
  } finally {
    await bucket.close();
  }
}

/** @throws ImgstoreError `REMOTE_FAILED` naming what does not hold, and what would be lost by it */
async function refuseUnfit(bucket: Bucket): Promise<void> {
  const { conditionalPut, findings, isFit } = await probeBucket(bucket).catch((error: unknown) => {
    throw isImgstoreError(error, 'REMOTE_DENIED') ? readOnly(error) : error;
  });
  if (isFit) return;
  const faults = findings
    .filter(({ fault }) => fault !== undefined)
    .map(({ claim, fault }) => `${claim}: ${fault}`);
  const lost =
    conditionalPut === 'atomic'
      ? 'versions there could not be relied on'
      : 'of two who push at once, one would undo what the other has done, and neither be told';
  throw new ImgstoreError(
    'REMOTE_FAILED',
    `${bucket.where}: the server does not do what a remote needs (${faults.join('; ')}): ${lost}: use another server (of Ceph, a bucket without versioning), or add it with --no-probe if only one machine ever pushes there`,
    { where: bucket.where, conditionalPut, faults },
  );
}

/** What was there could be read: a key that may do no more is enough for some. */
function readOnly(error: ImgstoreError): ImgstoreError {
  const message = `${error.message}; if this machine only fetches from there, add it with --no-probe`;
  return new ImgstoreError('REMOTE_DENIED', message, error.data, error);
}
