import { setImmediate } from 'node:timers/promises';
import { codecs } from '../../objects/index.ts';
import {
  DeltaBase,
  encodeDelta,
  type Pack,
  PackOrder,
  PackSurvey,
  type PackWriter,
  readRawEntry,
} from '../../pack/index.ts';
import { type Monitor, throwIfStopped } from '../progress.ts';

/** Entries between two looks at whether the caller wants to stop. */
const STRIDE = 256;

/** A delta that is longer than this share of its object is not worth a step of a chain. */
const MOST_OF_OBJECT = 0.9;

const NOT_COPIED = -1;

/**
 * Copies some entries of a pack to the end of a new one, or of several, in their order, as they are. A delta whose base is not copied becomes one against the nearest base of its
 * chain that is, or whole.
 * @param isKept by position in the pack's index
 * @param next gives the pack that the next entry goes into; deltas have their bases in the same one
 * @param level of the deflate codec, for what cannot be copied
 * @returns the positions that were copied, in the order of the new pack
 * @throws ImgstoreError `DAMAGED` when an entry cannot be read, `INTERRUPTED`, `IO`
 */
export async function copyEntries(
  pack: Pack,
  isKept: (position: number) => boolean,
  next: () => PackWriter | Promise<PackWriter>,
  level: number,
  monitor: Monitor,
): Promise<readonly number[]> {
  const order = new PackOrder(pack);
  const survey = new PackSurvey(pack);
  const offsets = new Float64Array(pack.idx.count).fill(NOT_COPIED);
  const copied: number[] = [];
  let writer: PackWriter | undefined;
  for (const [i, position] of order.positions.entries()) {
    if (!isKept(position)) continue;
    if (copied.length % STRIDE === 0) {
      await setImmediate();
      throwIfStopped(monitor);
    }
    const into = await next();
    if (into !== writer) offsets.fill(NOT_COPIED);
    writer = into;
    const at = into.bytes;
    const base = survey.base(position);
    if (base === undefined || offsets[base] !== NOT_COPIED) await copy(into, i, position, base);
    else await makeAnew(into, position, base);
    offsets[position] = at;
    copied.push(position);
  }
  return copied;

  async function copy(
    into: PackWriter,
    i: number,
    position: number,
    base: number | undefined,
  ): Promise<void> {
    const { head, stream } = readRawEntry(pack, order, i);
    const entry = { id: pack.idx.id(position), size: head.size, deflated: stream };
    if (base !== undefined) await into.addDelta({ ...entry, base: offsets[base]! });
    // An entry that is no delta has a type, or the pack says why not.
    else await into.add({ ...entry, type: survey.type(position) ?? pack.header(position).type });
  }

  async function makeAnew(into: PackWriter, position: number, lost: number): Promise<void> {
    const id = pack.idx.id(position);
    const { type, data } = pack.read(position);
    const { deflate } = codecs();
    const whole = deflate.deflate(data, level);
    const base = nearestCopied(lost);
    const delta =
      base === undefined || data.length === 0
        ? undefined
        : encodeDelta(new DeltaBase(pack.read(base).data), data, data.length * MOST_OF_OBJECT);
    const deflated = delta && deflate.deflate(delta, level);
    if (delta === undefined || deflated!.length > whole.length * MOST_OF_OBJECT)
      await into.add({ id, type, size: data.length, deflated: whole });
    else await into.addDelta({ id, size: delta.length, deflated: deflated!, base: offsets[base!]! });
  }

  function nearestCopied(position: number): number | undefined {
    let base: number | undefined = position;
    while (base !== undefined && offsets[base] === NOT_COPIED) base = survey.base(base);
    return base;
  }
}
