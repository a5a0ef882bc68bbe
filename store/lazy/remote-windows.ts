import { ImgstoreError } from '../../errors/index.ts';
import { type Bucket, packName, type RemotePack } from '../../remote/index.ts';

/**
 * Bytes that are fetched at a time, aligned. What lies near an entry are clusters that lie near in the disk, and a request takes 20 to 50 ms wherever it goes, in which
 * such a piece comes along; of larger ones, more comes that nobody reads.
 */
export const WINDOW_BYTES = 256 * 1024;

/** Windows that are kept in memory: 32 MiB. */
const MOST_WINDOWS = 128;

/** Bytes of a bucket's packs, by windows, of which the last that were read stay in memory. */
export class RemoteWindows {
  readonly #bucket: Bucket;
  /** Least recently used first. */
  readonly #windows = new Map<string, Promise<Uint8Array>>();

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  /** The bytes [offset, offset + length) of a pack. @throws ImgstoreError `DAMAGED` when it is shorter, `NOT_FOUND`, `REMOTE_…`. */
  async read(pack: RemotePack, offset: number, length: number): Promise<Uint8Array> {
    const first = Math.floor(offset / WINDOW_BYTES);
    const last = Math.floor((offset + length - 1) / WINDOW_BYTES);
    const numbers = Array.from({ length: last - first + 1 }, (_, i) => first + i);
    const windows = await Promise.all(numbers.map((number) => this.#window(pack, number)));
    const start = offset - first * WINDOW_BYTES;
    const bytes = windows.length === 1 ? windows[0]! : Buffer.concat(windows);
    const part = bytes.subarray(start, start + length);
    if (part.length === length) return part;
    const where = `${this.#bucket.where}: ${packName(pack)}`;
    throw new ImgstoreError('DAMAGED', `${where}: ends before byte ${offset + length}`, { where });
  }

  #window(pack: RemotePack, number: number): Promise<Uint8Array> {
    const key = `${pack.pack} ${number}`;
    const kept = this.#windows.get(key);
    this.#windows.delete(key);
    const window = kept ?? this.#fetch(pack, number);
    this.#windows.set(key, window);
    if (kept === undefined) {
      // One that failed is asked for anew.
      window.catch(() => this.#windows.delete(key));
      if (this.#windows.size > MOST_WINDOWS)
        this.#windows.delete(this.#windows.keys().next().value as string);
    }
    return window;
  }

  #fetch(pack: RemotePack, number: number): Promise<Uint8Array> {
    const offset = number * WINDOW_BYTES;
    const length = Math.min(WINDOW_BYTES, pack.bytes - offset);
    return this.#bucket.get(packName(pack), { offset, length });
  }
}
