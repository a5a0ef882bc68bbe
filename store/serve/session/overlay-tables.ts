import type { InPlaceFile } from '../../../block/index.ts';
import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import type { ImageUpdate } from '../../../qcow2/index.ts';

/** Bytes that were placed in the file and that no table leads to yet. A flush then has little left to do. */
const MOST_UNAPPLIED_BYTES = 64 * 2 ** 20;
/** Causes of a failed write after which the next may succeed. */
const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** What an overlay's tables are in. */
export interface OverlayTablesParts {
  readonly file: InPlaceFile;
  readonly update: ImageUpdate;
  /** Called when the tables are in the file, after each time that they were written. */
  readonly onApplied: () => Promise<void>;
}

/**
 * Brings what was changed in an overlay into its file, so that it lasts: when it is asked to, and when much has gathered. One at a time. After a failure of the device nothing is
 * changed any more: nobody knows what of it is on the disk.
 */
export class OverlayTables {
  readonly #file: InPlaceFile;
  readonly #update: ImageUpdate;
  readonly #onApplied: () => Promise<void>;
  /** The tables are not in the file as they are in memory. */
  #isChanged = false;
  /** Bytes written since they were. */
  #unapplied = 0;
  #applying: Promise<void> | undefined;
  #nextFlush: Promise<void> | undefined;
  #failure: ImgstoreError | undefined;

  constructor({ file, update, onApplied }: OverlayTablesParts) {
    this.#file = file;
    this.#update = update;
    this.#onApplied = onApplied;
  }

  /** Fulfilled when tables that are being written are; until then none may change. Undefined when none are. Never fails. */
  get written(): Promise<void> | undefined {
    return this.#applying?.catch(() => {});
  }

  /** Whether nothing can be changed any more. */
  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** @throws ImgstoreError `IO` when nothing can be changed any more */
  refuseFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /**
   * Changes the image.
   * @param changesTables whether an entry becomes another
   * @param bytes of data that are written
   * @throws ImgstoreError what `change` throws; an image that contradicts itself is not changed any more
   */
  change(change: () => unknown, { changesTables, bytes }: { changesTables: boolean; bytes: number }): void {
    try {
      change();
    } catch (error) {
      if (isImgstoreError(error, 'BAD_IMAGE')) this.#failure = broken(error);
      throw error;
    }
    if (changesTables) this.#isChanged = true;
    this.#unapplied += bytes;
  }

  /** Waits until all that was changed before would outlast a failure of the power. @throws ImgstoreError `IO` */
  flush(): Promise<void> {
    if (this.#applying === undefined) return this.#start();
    // What is under way may have begun before what is to be flushed; all who come meanwhile share the next.
    this.#nextFlush ??= this.#applying
      .catch(() => {})
      .then(() => {
        this.#nextFlush = undefined;
        return this.flush();
      });
    return this.#nextFlush;
  }

  /** Keeps memory bounded, and a flush short. @throws ImgstoreError `IO` */
  async relieve(): Promise<void> {
    if (this.#update.isFull || this.#unapplied >= MOST_UNAPPLIED_BYTES) await this.#start();
  }

  /** What is being applied when it is called may have begun before. */
  #start(): Promise<void> {
    this.#applying ??= this.#apply().finally(() => {
      this.#applying = undefined;
    });
    return this.#applying;
  }

  async #apply(): Promise<void> {
    this.refuseFailed();
    const isTables = this.#isChanged || this.#update.isFull;
    if (!isTables && this.#unapplied === 0) return;
    this.#isChanged = false;
    this.#unapplied = 0;
    try {
      if (!isTables) return await this.#file.sync();
      await this.#update.apply();
      await this.#onApplied();
    } catch (error) {
      this.#isChanged = true;
      const mayGoOn = FULL.has(isImgstoreError(error) && error.data.system) && !this.#file.hasFailedSync;
      if (isImgstoreError(error) && !mayGoOn) this.#failure = broken(error);
      throw error;
    }
  }
}

function broken(cause: ImgstoreError): ImgstoreError {
  return new ImgstoreError(
    'IO',
    `${cause.message}: nothing is written there any more: mend that, and start the server again`,
    cause.data,
    cause,
  );
}
