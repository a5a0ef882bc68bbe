import { unsupported } from '../meta/fault.ts';

/**
 * Bytes of tables that snapshots and bitmaps may have in all. This is what 500 snapshots of a disk of 16 TiB
 * have. Without a limit, tables that lie upon each other make a small file take hours.
 */
const MAX_TABLE_BYTES = 128 * 1024 * 1024;

/** Stops a check that a hostile image would make endless. */
export class WorkLimit {
  readonly #image: string;
  #left = MAX_TABLE_BYTES;

  /** @param image the file's name, for errors. */
  constructor(image: string) {
    this.#image = image;
  }

  /** @throws ImgstoreError `UNSUPPORTED` once all calls together ask for too many `bytes`. */
  spend(bytes: number): void {
    this.#left -= bytes;
    if (this.#left >= 0) return;
    throw unsupported(
      this.#image,
      `its snapshots and bitmaps have more than ${MAX_TABLE_BYTES} bytes of tables, which is more than imgstore checks`,
    );
  }
}
