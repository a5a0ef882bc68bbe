import type { Extent } from '../../block/index.ts';
import type { NbdExport } from '../../nbd/index.ts';
import type { CachedDisk } from './cached-disk.ts';

/** Clients that can choose read whole clusters; more at a time makes use of threads. */
const PREFERRED_BYTES = 65536;
const MOST_BYTES = 32 * 2 ** 20;

export interface VersionExportOptions {
  readonly name: string;
  /** One line for people. */
  readonly description: string;
  /** Called once, when its connection is done with it. */
  readonly onRelease: () => void;
}

/** A version's disk as an NBD client has it: for reading, always the same bytes. */
export class VersionExport implements NbdExport {
  readonly name: string;
  readonly description: string;
  readonly size: number;
  readonly readOnly = true;
  readonly blockSize = { minimum: 1, preferred: PREFERRED_BYTES, maximum: MOST_BYTES };
  readonly multiConnection = true;
  readonly #disk: CachedDisk;
  readonly #onRelease: () => void;

  constructor(disk: CachedDisk, { name, description, onRelease }: VersionExportOptions) {
    this.name = name;
    this.description = description;
    this.size = disk.size;
    this.#disk = disk;
    this.#onRelease = onRelease;
  }

  read(offset: number, into: Uint8Array): Promise<void> {
    return this.#disk.read(offset, into);
  }

  extents(offset: number, length: number): AsyncIterable<Extent> {
    return this.#disk.extents(offset, length);
  }

  isHole(offset: number, length: number): boolean {
    return this.#disk.isHole(offset, length);
  }

  async cache(offset: number, length: number): Promise<void> {
    this.#disk.prefetch(offset, length);
  }

  async release(): Promise<void> {
    this.#onRelease();
  }
}
