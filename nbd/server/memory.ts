/** Bytes of requests that all connections may have under way together, beyond {@link OWN_BYTES} of each. */
const SERVER_BYTES = 128 * 1024 * 1024;
/** Bytes that a connection has by itself: whoever holds the rest, it goes on with requests of this size. */
const OWN_BYTES = 256 * 1024;
/** Bytes of requests that one connection may have under way; the longest request must fit. */
const CONNECTION_BYTES = 64 * 1024 * 1024;

/** A share that waits for the server's memory. */
interface Waiting {
  readonly share: MemoryShare;
  readonly wake: () => void;
}

/** The memory that payloads of requests take up from their admission until the reply is sent, over all connections. It is counted here, not allocated. */
export class ServerMemory {
  #free = SERVER_BYTES;
  #waiting: Waiting[] = [];
  #isWaking = false;

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Who asked first is served first, so that long requests do not wait for ever. */
  take(bytes: number, share: MemoryShare, wake: () => void): boolean {
    const isNext = this.#waiting.length === 0 || this.#waiting[0]!.share === share;
    if (isNext && bytes <= this.#free) {
      this.#free -= bytes;
      this.forget(share);
      return true;
    }
    if (!this.#waiting.some((each) => each.share === share)) this.#waiting.push({ share, wake });
    return false;
  }

  give(bytes: number): void {
    this.#free += bytes;
    this.#wakeNext();
  }

  /** The share waits no more. */
  forget(share: MemoryShare): void {
    if (this.#waiting.length === 0) return;
    this.#waiting = this.#waiting.filter((each) => each.share !== share);
    this.#wakeNext();
  }

  /** Wakes one after the other, as long as each takes what it waits for. */
  #wakeNext(): void {
    if (this.#isWaking) return;
    this.#isWaking = true;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      next.wake();
      if (this.#waiting[0] === next) break;
    }
    this.#isWaking = false;
  }
}

/** What one connection has of it. */
export class MemoryShare {
  readonly #server: ServerMemory;
  readonly #wake: () => void;
  #used = 0;
  /** Of {@link ServerMemory}. */
  #taken = 0;

  /** @param wake called when {@link reserve} has failed for want of the server's memory and should be tried again */
  constructor(server: ServerMemory, wake: () => void) {
    this.#server = server;
    this.#wake = wake;
  }

  /** Whether it holds memory that others could have. */
  get holdsShared(): boolean {
    return this.#taken > 0;
  }

  /** False when there is not enough now: try again after a {@link release}, or when woken. @param bytes at most 32 MiB */
  reserve(bytes: number): boolean {
    const used = this.#used + bytes;
    if (used > CONNECTION_BYTES) return false;
    const more = Math.max(0, used - OWN_BYTES) - this.#taken;
    if (more > 0) {
      if (!this.#server.take(more, this, this.#wake)) return false;
      this.#taken += more;
    } else {
      this.#server.forget(this);
    }
    this.#used = used;
    return true;
  }

  release(bytes: number): void {
    this.#used -= bytes;
    const less = this.#taken - Math.max(0, this.#used - OWN_BYTES);
    if (less <= 0) return;
    this.#taken -= less;
    this.#server.give(less);
  }

  /** The connection is over: it waits for nothing. */
  end(): void {
    this.#server.forget(this);
  }
}
