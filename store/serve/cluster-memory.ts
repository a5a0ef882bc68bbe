/** Memory is taken and given back in pieces of this size. */
const PIECE_BYTES = 4 * 2 ** 20;

/** Room for one cluster, which threads can fill. */
export interface ClusterSlot {
  readonly memory: SharedArrayBuffer;
  /** Offset in the memory. */
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Memory for clusters, shared with threads. It grows by pieces, and goes back to the system as a whole. */
export class ClusterMemory {
  readonly #clusterSize: number;
  #free: ClusterSlot[] = [];
  /** Bytes that were taken from the system. */
  #bytes = 0;

  /** @param clusterSize of the largest cluster, in bytes */
  constructor(clusterSize: number) {
    this.#clusterSize = clusterSize;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get hasFree(): boolean {
    return this.#free.length > 0;
  }

  take(): ClusterSlot {
    if (this.#free.length === 0) this.#grow();
    return this.#free.pop()!;
  }

  giveBack(slot: ClusterSlot): void {
    this.#free.push(slot);
  }

  /** Forgets all of it: whoever has a slot must not give it back any more. */
  clear(): void {
    this.#free = [];
    this.#bytes = 0;
  }

  #grow(): void {
    const size = this.#clusterSize;
    const count = Math.max(1, Math.floor(PIECE_BYTES / size));
    const memory = new SharedArrayBuffer(count * size);
    for (let i = count - 1; i >= 0; i--)
      this.#free.push({ memory, at: i * size, bytes: new Uint8Array(memory, i * size, size) });
    this.#bytes += memory.byteLength;
  }
}
