import type { PackableObject } from '../../pack/index.ts';
import type { ContentKind, NewObjects } from '../objects/new-objects.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { openTransport } from './open-transport.ts';
import type { Remote } from './remote.ts';
import { findRemote } from './remotes.ts';
import type { RemoteRefs, RemoteTransport } from './transport.ts';

/** Refs that were seen longer ago are asked for again: what is planned by them may be refused. */
const FRESH_MS = 10_000;

interface OpenRemote {
  readonly remote: Remote;
  readonly transport: RemoteTransport;
}

/** A remote, and its refs as they were seen. */
export interface SeenRemote extends OpenRemote {
  readonly there: RemoteRefs;
}

/**
 * A push that has begun to ask where the remote's refs are, three requests, 0.1 s where nothing is far away; and that sends the objects that it is shown, where the remote is of that kind. What is to be pushed
 * may not be made yet.
 */
export class BegunPush implements NewObjects {
  readonly #open: () => Promise<OpenRemote>;
  readonly #monitor: Monitor;
  readonly #over = new AbortController();
  #opened: Promise<OpenRemote>;
  /** Undefined where nobody was asked yet. */
  readonly #there: Promise<RemoteRefs | undefined>;
  /** When the remote had answered, or could not be asked: by `performance.now()`. */
  #answered: number | undefined;
  #newObjects: NewObjects | undefined;
  #sendingSince: number | undefined;

  /** Does not throw: what is wrong is said by {@link BegunPush.seen}. @param name of the remote; undefined: `origin`, or the only one */
  constructor(store: Store, name: string | undefined, monitor: Monitor = {}) {
    const signals = monitor.signal === undefined ? [] : [monitor.signal];
    this.#monitor = { ...monitor, signal: AbortSignal.any([...signals, this.#over.signal]) };
    this.#open = () => open(store, name, this.#monitor);
    this.#opened = this.#open();
    // A question at the terminal would stand between what a commit says and draws there.
    this.#there = this.#opened.then(({ transport }) => {
      if (transport.mayPrompt) return undefined;
      const refs = transport.refs(this.#monitor);
      this.#newObjects = transport.newObjects;
      return refs;
    });
    const answer = () => {
      this.#answered = performance.now();
    };
    this.#there.then(answer, answer);
  }

  take(object: PackableObject, kind: ContentKind): void {
    if (this.#newObjects === undefined) return;
    this.#sendingSince ??= performance.now();
    this.#newObjects.take(object, kind);
  }

  /** When the first object was sent: by `performance.now()`; undefined when none was. */
  get sendingSince(): number | undefined {
    return this.#sendingSince;
  }

  end(): void {
    this.#newObjects?.end();
  }

  /** Where the refs are, or were a moment ago. @throws ImgstoreError `NOT_FOUND`, `USAGE`, `REMOTE_…` */
  async seen(monitor: Monitor): Promise<SeenRemote> {
    const isFresh = this.#answered === undefined || performance.now() - this.#answered < FRESH_MS;
    // Who could not be reached then may be there by now.
    if (!isFresh) this.#opened = this.#opened.catch(() => this.#open());
    const opened = await this.#opened;
    const there = isFresh ? await this.#there : undefined;
    return { ...opened, there: there ?? (await opened.transport.refs(monitor)) };
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

async function open(store: Store, name: string | undefined, monitor: Monitor): Promise<OpenRemote> {
  const remote = findRemote(store, name);
  return { remote, transport: await openTransport(store, remote, 'push', monitor) };
}
