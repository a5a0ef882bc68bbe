import { statfs } from 'node:fs/promises';
import { ImgstoreError } from '../../errors/index.ts';

/** How often to look. */
const LOOK_MS = 200;
/** Room that is left to others: this part of the file system, but no more than {@link MOST_LEFT_BYTES}. */
const LEFT_PART = 0.05;
const MOST_LEFT_BYTES = 2 ** 30;

/**
 * Watches the room for scratch files. When there is none, the guest's own writes fail: QEMU cannot keep what they overwrite. So a
 * commit gives up before.
 */
export class SpaceGuard {
  readonly #folder: string;
  readonly #onFull: () => void;
  readonly #timer: NodeJS.Timeout;
  #failure: ImgstoreError | undefined;

  /** @param onFull called once */
  constructor(folder: string, onFull: () => void) {
    this.#folder = folder;
    this.#onFull = onFull;
    this.#timer = setInterval(() => void this.#look(), LOOK_MS);
  }

  get failure(): ImgstoreError | undefined {
    return this.#failure;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const room = await statfs(this.#folder).catch(() => undefined);
    if (room === undefined || this.#failure !== undefined) return;
    const free = room.bavail * room.bsize;
    if (free >= Math.min(MOST_LEFT_BYTES, room.blocks * room.bsize * LEFT_PART)) return;
    this.stop();
    this.#failure = new ImgstoreError(
      'IO',
      `${this.#folder}: only ${free} bytes are left on its disk, and the guest goes on writing: nothing was stored: name a folder with more room with --scratch`,
      { path: this.#folder, free },
    );
    this.#onFull();
  }
}
