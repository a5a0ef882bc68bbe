import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { openTransport } from './open-transport.ts';
import type { Remote } from './remote.ts';
import { defaultRemote, findRemote } from './remotes.ts';
import type { RemoteRefs, RemoteTransport } from './transport.ts';

/** Refs that were seen longer ago are asked for again: what is planned by them may be refused. */
const FRESH_MS = 10_000;

/** A remote, and its refs as they were seen. */
export interface SeenRemote {
  readonly remote: Remote;
  readonly transport: RemoteTransport;
  readonly there: RemoteRefs;
}

/** A push that has begun to ask where the remote's refs are; what is to be pushed may not be made yet. It takes three requests, 0.1 s where nothing is far away. */
export class BegunPush {
  readonly #began = performance.now();
  readonly #opened: Promise<Omit<SeenRemote, 'there'>>;
  readonly #there: Promise<RemoteRefs>;
  readonly #over = new AbortController();

  /** Does not throw: what is wrong is said by {@link BegunPush.seen}. @param name of the remote; undefined: `origin`, or the only one */
  constructor(store: Store, name: string | undefined, monitor: Monitor = {}) {
    const signals = monitor.signal === undefined ? [] : [monitor.signal];
    const signal = AbortSignal.any([...signals, this.#over.signal]);
    this.#opened = open(store, name, { ...monitor, signal });
    this.#there = this.#opened.then(({ transport }) => transport.refs(monitor));
    this.#there.catch(() => {});
  }

  /** Where the refs are, or were a moment ago. @throws ImgstoreError `NOT_FOUND`, `USAGE`, `REMOTE_…` */
  async seen(monitor: Monitor): Promise<SeenRemote> {
    const opened = await this.#opened;
    const there = await this.#there;
    const isFresh = performance.now() - this.#began < FRESH_MS;
    return { ...opened, there: isFresh ? there : await opened.transport.refs(monitor) };
  }

  /** Lets go of the remote, also when nothing was pushed. */
  async close(): Promise<void> {
    // What nobody waits for any more is not tried again.
    this.#over.abort();
    const opened = await this.#opened.catch(() => undefined);
    await this.#there.catch(() => {});
    await opened?.transport.close();
  }
}

async function open(
  store: Store,
  name: string | undefined,
  monitor: Monitor,
): Promise<Omit<SeenRemote, 'there'>> {
  const remote = name === undefined ? defaultRemote(store) : findRemote(store, name);
  return { remote, transport: await openTransport(store, remote, 'push', monitor) };
}
