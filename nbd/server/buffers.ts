/** Behind a power of two there is room for the headers of a reply that carries as many bytes of data. */
const HEADER_ROOM = 4096;
const SMALLEST = 12;
/** 4 MiB; longer requests are rare, and their buffers go back to the system. */
const LARGEST = 22;
/** Bytes of free buffers that are kept. */
const MAX_FREE_BYTES = 32 * 1024 * 1024;

/**
 * Buffers for payloads, used again: a fresh one of 256 KiB costs more in page faults than reading what goes into it from the page cache. They hold what was in them before.
 */
export class Buffers {
  readonly #free: Buffer[][] = Array.from({ length: LARGEST - SMALLEST + 1 }, () => []);
  #freeBytes = 0;

  /** A buffer of `length` bytes or more. */
  take(length: number): Buffer {
    const size = classOf(length);
    if (size === undefined) return sharedBuffer(length);
    const buffer = this.#free[size - SMALLEST]!.pop();
    if (buffer === undefined) return sharedBuffer(2 ** size + HEADER_ROOM);
    this.#freeBytes -= buffer.length;
    return buffer;
  }

  /** Nobody looks at the buffer any more, the system included. @param buffer of {@link take} */
  give(buffer: Buffer): void {
    const size = classOf(buffer.length);
    if (size === undefined || this.#freeBytes + buffer.length > MAX_FREE_BYTES) return;
    this.#free[size - SMALLEST]!.push(buffer);
    this.#freeBytes += buffer.length;
  }

  /** Gives the free ones back to the system. */
  clear(): void {
    for (const list of this.#free) list.length = 0;
    this.#freeBytes = 0;
  }
}

/** Threads of an export can fill it. */
function sharedBuffer(length: number): Buffer {
  return Buffer.from(new SharedArrayBuffer(length));
}

/** Logarithm of the class that has room for so many bytes; undefined for too many. */
function classOf(length: number): number | undefined {
  const size = Math.max(SMALLEST, 32 - Math.clz32(Math.max(0, length - HEADER_ROOM - 1)));
  return size > LARGEST ? undefined : size;
}
