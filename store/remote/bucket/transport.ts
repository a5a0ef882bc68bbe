import { ImgstoreError } from '../../../errors/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import {
  type Bucket,
  checkPlace,
  checkRemote,
  FORMAT_NAME,
  type RemoteSnapshot,
} from '../../../remote/index.ts';
import type { NewObjects } from '../../objects/new-objects.ts';
import { refNameFault } from '../../refs/name.ts';
import type { Store } from '../../store.ts';
import { keepShared } from '../shared-refs.ts';
import type {
  PushSummary,
  RemoteRefs,
  RemoteTransport,
  RemoteUpdate,
  TransferOptions,
  TransferSummary,
} from '../transport.ts';
import { type BucketRemote, bucketRemote } from './bucket-remote.ts';
import { EarlyUploads } from './early-uploads.ts';
import { type FetchDepth, fetchFrom } from './fetch.ts';
import { pushTo } from './push.ts';

/** The way to a bucket that holds versions (docs/format/remote.md). */
export class BucketTransport implements RemoteTransport {
  readonly #remote: BucketRemote;
  readonly #depth: FetchDepth;
  /** What {@link BucketTransport.refs} has seen: a push begins with it, as it notices when that is not the newest any more. */
  #seen: RemoteSnapshot | undefined;
  /** {@link BucketTransport.refs} that was called last. */
  #asked: Promise<unknown> = Promise.resolve();
  #early: EarlyUploads | undefined;

  /** @param name of the remote; undefined for a URL that is none */
  constructor(store: Store, bucket: Bucket, name: string | undefined, depth: FetchDepth = {}) {
    this.#remote = bucketRemote(store, bucket, name);
    this.#depth = depth;
  }

  get where(): string {
    return this.#remote.bucket.where;
  }

  /** Sends objects before the push that {@link BucketTransport.push} will be. */
  get newObjects(): NewObjects {
    this.#early ??= new EarlyUploads(
      this.#remote,
      this.#asked.then(() => this.#seen),
    );
    return this.#early;
  }

  refs(): Promise<RemoteRefs> {
    const refs = this.#refs();
    this.#asked = refs;
    return refs;
  }

  async #refs(): Promise<RemoteRefs> {
    const { bucket, states } = this.#remote;
    this.#seen = undefined;
    const newest = states.newest();
    newest.catch(() => {});
    // Has the first word: states of a newer format, or encrypted ones, are none here.
    const isRemote = await checkRemote(bucket);
    const snapshot = await newest;
    if (!isRemote) {
      if (snapshot.number > 0) throw notWhole(bucket);
      await checkPlace(bucket);
      return { refs: [] };
    }
    this.#seen = snapshot;
    const { content } = snapshot;
    const refs = [...content.refs]
      .filter(([name]) => refNameFault(name) === undefined)
      .map(([name, id]) => ({ name, id }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    return keepShared({ refs, peeled: content.peeled, head: content.head });
  }

  fetch(wanted: readonly ObjectId[], options: TransferOptions = {}): Promise<TransferSummary> {
    return this.#counted(() => fetchFrom(this.#remote, wanted, options, this.#depth));
  }

  push(updates: readonly RemoteUpdate[], options: TransferOptions = {}): Promise<PushSummary> {
    const [seen, early] = [this.#seen, this.#early];
    [this.#seen, this.#early] = [undefined, undefined];
    const work = async () => {
      const sent = (await early?.finish(options)) ?? [];
      return pushTo(this.#remote, updates, options, { seen, sent, sentSince: early?.since });
    };
    return this.#counted(work, early?.before);
  }

  async close(): Promise<void> {
    this.#remote.indexes.close();
    await this.#remote.bucket.close();
  }

  /** Does work, and says what it has cost. @param before traffic when it began */
  async #counted<T>(
    work: () => Promise<T>,
    before = { ...this.#remote.bucket.traffic },
  ): Promise<T & { readonly bytes: number; readonly requests: number }> {
    const { bucket } = this.#remote;
    const result = await work();
    const { sentBytes, receivedBytes, requests } = bucket.traffic;
    const bytes = sentBytes - before.sentBytes + receivedBytes - before.receivedBytes;
    return { ...result, bytes, requests: requests - before.requests };
  }
}

function notWhole({ where }: Bucket): ImgstoreError {
  return new ImgstoreError(
    'REMOTE_FAILED',
    `${where}: has states of a remote and no ${FORMAT_NAME}: something else than imgstore has removed it: put it back, docs/format/remote.md says what is in it`,
    { where },
  );
}
