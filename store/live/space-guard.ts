import { statfs } from 'node:fs/promises';
import { ImgstoreError } from '../../errors/index.ts';

/** How often to look. */
const LOOK_MS = 100;
/** Room that is left to others: a part of the file system, within limits. */
const LEFT_PART = 0.05;
const LEAST_LEFT_BYTES = 64 * 2 ** 20;
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

  private constructor(folder: string, onFull: () => void) {
    this.#folder = folder;
    this.#onFull = onFull;
    this.#timer = setInterval(() => void this.#look(), LOOK_MS);
  }

  /** @param onFull called once, when there is too little @throws ImgstoreError `IO` when there is too little from the start */
  static async start(folder: string, onFull: () => void): Promise<SpaceGuard> {
    const free = await tooLittle(folder);
    if (free !== undefined) throw full(folder, free, 'which the guest may need meanwhile');
    return new SpaceGuard(folder, onFull);
  }

  /** Undefined as long as there is room. */
  get failure(): ImgstoreError | undefined {
    return this.#failure;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const free = await tooLittle(this.#folder);
    if (free === undefined || this.#failure !== undefined) return;
    this.stop();
    this.#failure = full(this.#folder, free, 'and the guest goes on writing');
    this.#onFull();
  }
}

/** Bytes that are left, when those are too few. */
async function tooLittle(folder: string): Promise<number | undefined> {
  const room = await statfs(folder).catch(() => undefined);
  if (room === undefined) return undefined;
  const free = room.bavail * room.bsize;
  const part = Math.max(LEAST_LEFT_BYTES, room.blocks * room.bsize * LEFT_PART);
  return free < Math.min(MOST_LEFT_BYTES, part) ? free : undefined;
}

function full(folder: string, free: number, why: string): ImgstoreError {
  return new ImgstoreError(
    'IO',
    `${folder}: only ${free} bytes are left on its disk, ${why}: nothing was stored: name a folder with more room with --scratch`,
    { path: folder, free },
  );
}
