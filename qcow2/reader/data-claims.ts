import { badImage } from '../meta/fault.ts';

/**
 * Counts the data that L2 tables give a disk. Each cluster of it is one of the file's own, so that there cannot be
 * more of it than the file has bytes; a table of one cluster could otherwise claim terabytes, which are nothing but
 * one cluster again and again, and a commit would read them all. Writers share clusters with snapshots only.
 */
export class DataClaims {
  readonly #most: number;
  readonly #image: string;
  #claimed = 0;

  /** @param most bytes of the file that holds the data, and a cluster for one that the end cuts short. */
  constructor(most: number, image: string) {
    this.#most = most;
    this.#image = image;
  }

  /** @throws ImgstoreError `BAD_IMAGE` when there cannot be `length` bytes more. */
  add(length: number): void {
    this.#claimed += length;
    if (this.#claimed <= this.#most) return;
    throw badImage(
      this.#image,
      `its tables give more data than the ${this.#most} bytes that its file can hold: they name some clusters twice`,
      { field: 'l2 entry', value: this.#claimed },
    );
  }
}
