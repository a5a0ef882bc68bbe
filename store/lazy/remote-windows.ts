import { ImgstoreError } from '../../errors/index.ts';
import { type Bucket, packName, type RemotePack } from '../../remote/index.ts';

/** Bytes that are fetched at least, aligned: an entry of a cluster of 64 KiB takes about as much, and with larger ones, more comes than anybody reads. */
export const WINDOW_BYTES = 32 * 1024;

/** Windows that are kept in memory: 32 MiB. */
const MOST_WINDOWS = 1024;

/** Windows that are fetched by one request: 4 MiB. */
const MOST_PER_REQUEST = 128;

/** What is fetched ahead, of what was read before it: a request takes 20 to 50 ms wherever it goes, and who reads a file to its end reads past it by no more than this. */
const SHARE_AHEAD = 1 / 2;

/** Bytes of a pack. */
export interface PackRange {
  readonly pack: RemotePack;
  readonly offset: number;
  readonly length: number;
}

/** Windows [first, end) of a pack. */
interface Run {
  readonly pack: RemotePack;
  readonly first: number;
  readonly end: number;
}

/**
 * Bytes of a bucket's packs, by windows, of which the last that were read stay in memory. Neighbours that are asked for together come with one request, and who reads on
 * where something was read gets half as much ahead as he has read.
 */
export class RemoteWindows {
  readonly #bucket: Bucket;
  /** Least recently used first. */
  readonly #windows = new Map<string, Promise<Uint8Array>>();

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  /** Asks for all of some ranges, with few requests: to be read in the same turn. */
  prepare(ranges: readonly PackRange[]): void {
    const packs = new Map<string, { readonly pack: RemotePack; readonly numbers: Set<number> }>();
    for (const { pack, offset, length } of ranges) {
      const wanted = packs.get(pack.pack) ?? { pack, numbers: new Set() };
      packs.set(pack.pack, wanted);
      for (const number of windowsOf(offset, length))
        if (!this.#windows.has(keyOf(pack, number))) wanted.numbers.add(number);
    }
    for (const { pack, numbers } of packs.values())
      for (const run of runsOf(pack, numbers)) this.#fetch(this.#extended(run));
  }

  /** The bytes [offset, offset + length) of a pack. @throws ImgstoreError `DAMAGED` when it is shorter, `NOT_FOUND`, `REMOTE_…`. */
  async read({ pack, offset, length }: PackRange): Promise<Uint8Array> {
    this.prepare([{ pack, offset, length }]);
    const numbers = windowsOf(offset, length);
    const windows = await Promise.all(numbers.map((number) => this.#window(pack, number)));
    const start = offset - numbers[0]! * WINDOW_BYTES;
    const bytes = windows.length === 1 ? windows[0]! : Buffer.concat(windows);
    const part = bytes.subarray(start, start + length);
    if (part.length === length) return part;
    const where = `${this.#bucket.where}: ${packName(pack)}`;
    throw new ImgstoreError('DAMAGED', `${where}: ends before byte ${offset + length}`, { where });
  }

  /** Lets go of what is kept of some ranges: it may have been damaged on its way. */
  forget(ranges: readonly PackRange[]): void {
    for (const { pack, offset, length } of ranges)
      for (const number of windowsOf(offset, length)) this.#windows.delete(keyOf(pack, number));
  }

  /** One that was asked for; it is the most recently used then. */
  #window(pack: RemotePack, number: number): Promise<Uint8Array> {
    const key = keyOf(pack, number);
    if (!this.#windows.has(key)) this.#fetch({ pack, first: number, end: number + 1 });
    const window = this.#windows.get(key)!;
    this.#windows.delete(key);
    this.#windows.set(key, window);
    return window;
  }

  /** A run with windows behind it, where those before it were read. */
  #extended({ pack, first, end }: Run): Run {
    const last = Math.ceil(pack.bytes / WINDOW_BYTES);
    let before = 0;
    while (before < MOST_PER_REQUEST && this.#windows.has(keyOf(pack, first - before - 1))) before++;
    const most = Math.min(last, first + MOST_PER_REQUEST, end + Math.floor(before * SHARE_AHEAD));
    let to = end;
    while (to < most && !this.#windows.has(keyOf(pack, to))) to++;
    return { pack, first, end: to };
  }

  #fetch({ pack, first, end }: Run): void {
    const offset = first * WINDOW_BYTES;
    const length = Math.min(end * WINDOW_BYTES, pack.bytes) - offset;
    const bytes = this.#bucket.get(packName(pack), { offset, length });
    for (let number = first; number < end; number++) {
      const key = keyOf(pack, number);
      const start = (number - first) * WINDOW_BYTES;
      const window = bytes.then((all) => all.subarray(start, start + WINDOW_BYTES));
      this.#windows.set(key, window);
      // One that failed is asked for anew.
      window.catch(() => {
        if (this.#windows.get(key) === window) this.#windows.delete(key);
      });
    }
    for (const key of this.#windows.keys()) {
      if (this.#windows.size <= MOST_WINDOWS) break;
      this.#windows.delete(key);
    }
  }
}

function keyOf({ pack }: RemotePack, number: number): string {
  return `${pack} ${number}`;
}

function windowsOf(offset: number, length: number): number[] {
  const first = Math.floor(offset / WINDOW_BYTES);
  const last = Math.floor((offset + length - 1) / WINDOW_BYTES);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Neighbours together, as many as one request may bring. */
function runsOf(pack: RemotePack, numbers: ReadonlySet<number>): Run[] {
  const runs: { readonly pack: RemotePack; readonly first: number; end: number }[] = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run !== undefined && run.end === number && number - run.first < MOST_PER_REQUEST) run.end++;
    else runs.push({ pack, first: number, end: number + 1 });
  }
  return runs;
}
