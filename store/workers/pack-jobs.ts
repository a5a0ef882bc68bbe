import { ImgstoreError } from '../../errors/index.ts';
import { codecs, type ObjectId, storedLength } from '../../objects/index.ts';
import { applyDelta, DeltaBase, encodeDelta, sketch } from '../../pack/index.ts';
import { readStored, readVerified, type StoredStream } from './stored-stream.ts';

/** An object to be packed. */
export interface PackItem {
  readonly id: ObjectId;
  readonly stored: StoredStream;
  /** Bytes of data. */
  readonly size: number;
}

/** Objects to read into a shared buffer, one behind the other. */
export interface SketchJob {
  readonly items: readonly PackItem[];
  readonly output: SharedArrayBuffer;
}

/** Inflates objects, checks each against its id, and returns their sketches. */
export function sketchObjects({ items, output }: SketchJob): number[][] {
  const bytes = new Uint8Array(output);
  let at = 0;
  return items.map(({ id, stored, size }) => {
    const { data } = readVerified(stored, id);
    if (data.length !== size) {
      const message = `${stored.where}: object ${id} has ${data.length} bytes, not ${size}`;
      throw new ImgstoreError('DAMAGED', message, { id });
    }
    bytes.set(data, at);
    at += size;
    return [...sketch(data)];
  });
}

/** An object in a shared buffer, and what may be its base. */
export interface DeltaTarget {
  /** Bytes of data, behind those of the target before. */
  readonly size: number;
  readonly candidates: readonly PackItem[];
  /** Bytes of its stream as it is stored now, as a measure of how well it deflates; undefined when it is a delta now, which says nothing about that. */
  readonly storedBytes: number | undefined;
  /** Its stream is good enough to be taken over when no base is better. */
  readonly keep: boolean;
}

export interface DeltaJob {
  readonly targets: readonly DeltaTarget[];
  /** As {@link SketchJob.output} left it. */
  readonly input: SharedArrayBuffer;
  /** Room for {@link storedLength} of every target. */
  readonly output: SharedArrayBuffer;
  /** Of the codec. */
  readonly level: number;
}

/** How an object is best packed. */
export interface PackedForm {
  /** Which candidate is the base; −1 for whole. */
  readonly base: number;
  /** Bytes of the delta, or of the object. */
  readonly size: number;
  /** Where its stream ends in the output, which begins where the one before ends; the same place for a stream that is to be kept. */
  readonly end: number;
}

/** Finds for each object the shortest form: as it is, or as a delta against one of its candidates. Every delta is applied and compared before it is handed out. */
export function deltifyObjects({ targets, input, output, level }: DeltaJob): PackedForm[] {
  const source = new Uint8Array(input);
  const room = new Uint8Array(output);
  let from = 0;
  let end = 0;
  return targets.map((target) => {
    const data = source.subarray(from, from + target.size);
    from += target.size;
    const storedBytes = target.storedBytes ?? codecs().deflate.deflate(data, TRIAL_LEVEL).length;
    const form = shortestForm(data, { ...target, storedBytes }, level);
    if (form.stream !== undefined) {
      room.set(form.stream, end);
      end += form.stream.length;
    }
    return { base: form.base, size: form.size, end };
  });
}

/** A delta must save this share of what the object takes whole: each step of a chain costs time to read. */
const LEAST_SAVING = 0.04;

/**
 * A delta and the whole object are compared at the fastest level first, where the object's stream of now is the measure. Only between this share of it and all of it
 * are both deflated at the pack's level, which is most of the cost of packing. Of 15 257 deltas that were up to a tenth longer, 6 became shorter.
 */
const CLEARLY_SHORTER = 0.85;

interface MeasuredTarget extends DeltaTarget {
  readonly storedBytes: number;
}

interface Form {
  readonly base: number;
  readonly size: number;
  /** Undefined: the stream of now is kept. */
  readonly stream: Uint8Array | undefined;
}

function shortestForm(data: Uint8Array, target: MeasuredTarget, level: number): Form {
  const best = shortestDelta(data, target);
  const share = best === undefined ? Number.POSITIVE_INFINITY : best.trialBytes / target.storedBytes;
  const delta =
    best === undefined || share > 1
      ? undefined
      : { base: best.base, size: best.bytes.length, stream: codecs().deflate.deflate(best.bytes, level) };
  if (delta !== undefined && share < CLEARLY_SHORTER && !target.keep) return delta;
  const stream = target.keep ? undefined : wholeStream(data, target, level);
  const most = (stream?.length ?? target.storedBytes) * (1 - LEAST_SAVING);
  return delta !== undefined && delta.stream.length < most ? delta : { base: -1, size: data.length, stream };
}

/** What the fastest level could not shrink, no level shrinks enough to pay for the attempt. */
function wholeStream(data: Uint8Array, { storedBytes }: MeasuredTarget, level: number): Uint8Array {
  const { deflate } = codecs();
  if (storedBytes >= data.length) return deflate.deflate(data, 0);
  const stream = deflate.deflate(data, level);
  return stream.length < data.length ? stream : deflate.deflate(data, 0);
}

/** Level at which candidates are compared. */
const TRIAL_LEVEL = 1;

interface TriedDelta {
  /** Which candidate. */
  readonly base: number;
  readonly bytes: Uint8Array;
  /** Bytes at {@link TRIAL_LEVEL}. */
  readonly trialBytes: number;
}

/**
 * Deltas are given up that take this many times the bytes of the object, or of the best delta so far, before deflate: that costs 0.02% of a pack's length, and
 * takes a quarter off the time.
 */
const MOST_OF_OBJECT = 0.98;
const MOST_OF_BEST = 1.2;

/** The candidate whose delta deflates best. */
function shortestDelta(data: Uint8Array, { candidates }: DeltaTarget): TriedDelta | undefined {
  let best: TriedDelta | undefined;
  for (const [base, candidate] of candidates.entries()) {
    const most = best === undefined ? data.length * MOST_OF_OBJECT : best.bytes.length * MOST_OF_BEST;
    const bytes = encodeDelta(baseIndex(candidate), data, most);
    if (bytes === undefined) continue;
    const trialBytes = codecs().deflate.deflate(bytes, TRIAL_LEVEL).length;
    if (best === undefined || trialBytes < best.trialBytes) best = { base, bytes, trialBytes };
  }
  if (best === undefined) return undefined;
  const { id } = candidates[best.base]!;
  if (!applyDelta(baseIndex(candidates[best.base]!).bytes, best.bytes).equals(data))
    throw new Error(`the delta against ${id} makes other bytes`);
  return best;
}

/** Bytes of indexed bases from which on the oldest is given up, per thread: a base of 64 KiB and its index take 350 KB, one of 2 MiB takes ten times that. */
const MOST_INDEX_BYTES = 11 * 1024 * 1024;
const indexes = new Map<ObjectId, DeltaBase>();
let indexBytes = 0;

function baseIndex({ id, stored }: PackItem): DeltaBase {
  let index = indexes.get(id);
  if (index === undefined) {
    index = new DeltaBase(readStored(stored, id).data, giveUpOldest());
    indexBytes += index.memoryBytes;
  } else {
    indexes.delete(id);
  }
  indexes.set(id, index);
  return index;
}

/** Makes room for another base. Returns one that was given up, if any was. */
function giveUpOldest(): DeltaBase | undefined {
  let last: DeltaBase | undefined;
  for (const [id, index] of indexes) {
    if (indexBytes < MOST_INDEX_BYTES) break;
    indexes.delete(id);
    indexBytes -= index.memoryBytes;
    last = index;
  }
  return last;
}

/** Room that any form of an object fits into. */
export function formRoom(size: number): number {
  return storedLength(size) + 64;
}
