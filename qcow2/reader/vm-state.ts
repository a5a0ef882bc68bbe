import { type BlockSource, checkRange, type Extent } from '../../block/index.ts';
import type { SnapshotSpace } from '../meta/snapshot.ts';
import type { GuestSpace } from './guest-space.ts';

/** What a VM had in memory when a snapshot was taken, as QEMU's migration stream. The image owns the files. */
export class VmState implements BlockSource {
  readonly size: number;
  readonly #space: GuestSpace;
  readonly #start: number;

  constructor(space: GuestSpace, { vmStateOffset, vmStateSize }: SnapshotSpace) {
    this.size = vmStateSize;
    this.#space = space;
    this.#start = vmStateOffset;
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    for await (const extent of this.#space.extents(this.#start + offset, length)) {
      yield { ...extent, offset: extent.offset - this.#start };
    }
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    await this.#space.read(this.#start + offset, into);
  }

  /** Does nothing: closing the image ends this too. */
  async close(): Promise<void> {}
}
