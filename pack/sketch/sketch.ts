/**
 * What tells similar objects without comparing them: a min-hash over content-defined places.
 *
 * A rolling *gear* hash (Xia et al., "Ddelta", 2014) of the last 32 bytes picks about one byte in 64 as a place, the same ones wherever the same bytes lie; each
 * place's hash is a *shingle*; the {@link SKETCH_FEATURES} smallest mixed shingles are the sketch (Broder, "On the resemblance and containment of
 * documents", 1997). The share of features that two sketches have in common estimates how much of their content is the same, also when it has moved by any
 * number of bytes.
 *
 * Measured on nine Debian disks (53 285 different clusters, deflate alone 1269 MB): votes over hashes of aligned blocks of 4 KiB with three
 * candidates 1099 MB, those with super-features and the same place in the parent version 1042 MB; this sketch with two
 * candidates 960 MB (8 features), 953 MB (16), 949 MB (32).
 */
export const SKETCH_FEATURES = 16;

/** A place is where the gear hash has these bits zero: its top six, which depend on most of the window. */
const PLACE_MASK = 0xfc000000;

/** Bytes after which the gear hash has forgotten what came before: one bit is shifted out by each. */
const GEAR_WINDOW = 32;

/** Random words by byte, from a fixed seed: sketches of different runs must fit each other. */
const GEAR = makeGear();

/**
 * The sketch of an object's data: up to {@link SKETCH_FEATURES} different 32-bit features, ascending; none for data too short or too uniform to have
 * places. Runs at some 400 MB/s.
 */
export function sketch(data: Uint8Array): Uint32Array {
  const least = new Uint32Array(SKETCH_FEATURES);
  let count = 0;
  let hash = 0;
  for (let at = 0; at < data.length; at++) {
    hash = ((hash << 1) + GEAR[data[at]!]!) | 0;
    if ((hash & PLACE_MASK) !== 0 || at < GEAR_WINDOW) continue;
    const feature = mix(hash);
    if (count === SKETCH_FEATURES && feature >= least[count - 1]!) continue;
    // Insertion into a short sorted list; a feature that is there already is one.
    let row = count;
    while (row > 0 && least[row - 1]! > feature) row--;
    if (row > 0 && least[row - 1] === feature) continue;
    if (count < SKETCH_FEATURES) count++;
    least.copyWithin(row + 1, row, count - 1);
    least[row] = feature;
  }
  return least.subarray(0, count);
}

/** The finalizer of MurmurHash3: every bit of the input changes half of the output. */
function mix(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function makeGear(): Int32Array {
  let state = 0x9e3779b9;
  return Int32Array.from({ length: 256 }, () => {
    // xorshift32 (Marsaglia, 2003)
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  });
}
