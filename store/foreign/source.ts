import type { BlockSource, Extent, RawFile } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import type { NbdSource } from '../../nbd/index.ts';
import { isNbdFailure, type QemuNbd } from './qemu-nbd.ts';

/** A disk that a `qemu-nbd` of its own reads out of an image; closing it ends the process. */
export class ForeignSource implements BlockSource {
  readonly size: number;
  readonly #path: string;
  readonly #source: NbdSource;
  readonly #server: QemuNbd;
  readonly #files: readonly RawFile[];
  #closed: Promise<void> | undefined;

  /** @param files that the image consists of; closed with this */
  constructor(path: string, source: NbdSource, server: QemuNbd, files: readonly RawFile[]) {
    this.size = source.size;
    this.#path = path;
    this.#source = source;
    this.#server = server;
    this.#files = files;
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    try {
      yield* this.#source.extents(offset, length);
    } catch (error) {
      throw await this.#explained(error);
    }
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    try {
      await this.#source.read(offset, into);
    } catch (error) {
      throw await this.#explained(error);
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    await this.#source.close();
    await this.#server.stop(false);
    await Promise.all(this.#files.map((file) => file.close()));
  }

  /** A broken connection says little; why qemu-nbd ended says more. */
  async #explained(error: unknown): Promise<unknown> {
    if (!isNbdFailure(error) || this.#closed !== undefined || !(await this.#server.hasEnded())) return error;
    const why = this.#server.lastWords;
    return new ImgstoreError(
      'NBD',
      `${this.#path}: qemu-nbd ended while it read the image: ${why}`,
      { path: this.#path },
      error,
    );
  }
}
