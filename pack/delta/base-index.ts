/** Bytes that are hashed at a place of the base, and that two places must share to be found. */
export const WINDOW = 8;

/**
 * The base is indexed at every {@link STEP}th byte, the target looked up at every byte: any {@link STEP} + {@link WINDOW} − 1 equal bytes are found,
 * wherever they lie. At 8 a base of 64 KiB takes 8192 rows, which stay in the processor's cache.
 */
export const STEP = 8;

/** Eight rows for each place of a cluster: seven of eight bytes of a target that match nothing are done with after one look. */
const HASH_BITS = 16;
const EMPTY = -1;

/** Rows kept under one hash: what repeats more often than this in a base (zeros, padding) is as good at one place as at another. */
const MOST_IN_BUCKET = 16;

/** Rows under each hash while a base is indexed; one for all, as nothing else runs meanwhile. */
const inBucket = new Uint8Array(1 << HASH_BITS);

/** Hash of the 8 bytes whose halves, as little-endian words, are `low` and `high`. */
export function hashWindow(low: number, high: number): number {
  return (Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca77)) >>> (32 - HASH_BITS);
}

/** The little-endian word at `at`. */
export function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** A base with the places of its byte sequences: made once, used for any number of targets. */
export class DeltaBase {
  readonly bytes: Uint8Array;
  /** By hash: the first place, in units of {@link STEP}; −1 for none. Open to the encoder: a call for each byte of a target takes half of its time. */
  readonly first: Int32Array;
  /** By place: the next one with the same hash, or −1. */
  readonly next: Int32Array;

  /** @param old one that is used no more, whose tables are taken over: 300 KB for each base would keep the garbage collector busy */
  constructor(bytes: Uint8Array, old?: DeltaBase) {
    this.bytes = bytes;
    const places = bytes.length < WINDOW ? 0 : Math.floor((bytes.length - WINDOW) / STEP) + 1;
    this.first = old?.first ?? new Int32Array(1 << HASH_BITS);
    this.first.fill(EMPTY);
    this.next = old !== undefined && old.next.length >= places ? old.next : new Int32Array(places);
    inBucket.fill(0);
    let lastLow = 0;
    let lastHigh = 0;
    // From the end, so that a bucket begins with the lowest place, whose offset takes the fewest bytes and which leaves most to copy.
    for (let place = places - 1; place >= 0; place--) {
      const low = wordAt(bytes, place * STEP);
      const high = wordAt(bytes, place * STEP + 4);
      const hash = hashWindow(low, high);
      if (low === lastLow && high === lastHigh && this.first[hash] === place + 1) {
        // A run of one value: its first place stands for all, as the longest copy begins there.
        this.next[place] = this.next[place + 1]!;
        this.first[hash] = place;
        continue;
      }
      lastLow = low;
      lastHigh = high;
      if (inBucket[hash]! === MOST_IN_BUCKET) continue;
      inBucket[hash]!++;
      this.next[place] = this.first[hash]!;
      this.first[hash] = place;
    }
  }

  /** Bytes of the base and its tables. */
  get memoryBytes(): number {
    return this.bytes.length + this.first.byteLength + this.next.byteLength;
  }
}
