import { crc32 } from 'node:zlib';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { GitObject, ObjectId } from '../../objects/index.ts';
import { type Pack, PackOrder, PackSurvey } from '../../pack/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import {
  ELSEWHERE,
  type GatheredObject,
  LOOSE,
  NO_BASE,
  ObjectTable,
  type SourcePack,
} from './object-table.ts';
import type { PackPlan } from './plan.ts';

/**
 * Looks at every object that a plan gathers and the body lacks: kind, size, and what it is stored as.
 * @param keepDeltas takes deltas over as they are, instead of looking for a better base
 *
 * An entry that does not fit its CRC is not taken from its pack: a damaged head tells a wrong kind or size, and a delta that is taken over is not applied.
 * @throws ImgstoreError `DAMAGED` when an object is damaged and there is no whole copy of it
 */
export function gatherObjects(
  database: ObjectDatabase,
  { body, sources, loose }: PackPlan,
  { keepDeltas }: { readonly keepDeltas: boolean },
): ObjectTable {
  const packs = sources.map((pack) => ({ pack, order: new PackOrder(pack) }));
  const most = loose.length + packs.reduce((sum, { pack }) => sum + pack.idx.count, 0);
  const isInBody = (id: ObjectId) => body?.idx.find(id) !== undefined;
  return new ObjectTable(packs, most, found());

  function* found(): Generator<GatheredObject> {
    for (const [source, each] of packs.entries()) yield* packed(each, source);
    for (const id of loose) {
      const object = isInBody(id) ? undefined : wholeOr(id, () => looseObject(id));
      // Gone meanwhile: another process has packed it.
      if (object !== undefined) yield object;
    }
  }

  /** The base of a delta that is kept. One whose base comes from the body is not: the base may be at the end of a chain there. */
  function keptBase({ idx }: Pack, base: number | undefined): number {
    return !keepDeltas || base === undefined || isInBody(idx.id(base)) ? NO_BASE : base;
  }

  function* packed({ pack, order }: SourcePack, source: number): Generator<GatheredObject> {
    // Types and bases by one look at each entry: to walk the chain of each would take the square of the longest.
    const survey = new PackSurvey(pack);
    for (const [entry, position] of order.positions.entries()) {
      const id = pack.idx.id(position);
      if (isInBody(id)) continue;
      yield wholeOr(id, () => {
        refuseOtherCrc(pack, order, entry);
        // What has no type cannot be read, and the pack says why.
        const type = survey.type(position) ?? pack.header(position).type;
        const size = pack.sizeAt(order.offset(entry));
        return { id, type, size, source, entry, keptBase: keptBase(pack, survey.base(position)) };
      });
    }
  }

  function looseObject(id: ObjectId): GatheredObject | undefined {
    const header = database.loose.header(id);
    return header === undefined ? undefined : { id, ...header, source: LOOSE, entry: 0, keptBase: NO_BASE };
  }

  /** An object as `look` finds it, or, where that is damaged, as any whole copy has it. */
  function wholeOr<T>(id: ObjectId, look: () => T): T | GatheredObject {
    try {
      return look();
    } catch (error) {
      if (!isImgstoreError(error, 'DAMAGED')) throw error;
      const { type, data } = readElsewhere(database, id, error);
      return { id, type, size: data.length, source: ELSEWHERE, entry: 0, keptBase: NO_BASE };
    }
  }
}

/** The whole copy of an object that is damaged at one place. @throws the error of that place when there is none */
export function readElsewhere(database: ObjectDatabase, id: ObjectId, damage: ImgstoreError): GitObject {
  try {
    return database.read(id);
  } catch (error) {
    throw isImgstoreError(error) ? damage : error;
  }
}

/** @throws ImgstoreError `DAMAGED` when the bytes of an entry do not fit the CRC-32 that the pack's index has of it */
function refuseOtherCrc(pack: Pack, order: PackOrder, entry: number): void {
  const offset = order.offset(entry);
  const end = order.end(entry);
  let crc = 0;
  for (let at = offset; at < end; at += CRC_BYTES) {
    const part = crcBuffer.subarray(0, Math.min(CRC_BYTES, end - at));
    pack.readInto(part, at);
    crc = crc32(part, crc);
  }
  if (crc === pack.idx.crc(order.positions[entry]!)) return;
  const data = { path: pack.path, offset };
  throw new ImgstoreError('DAMAGED', `${pack.path}: entry at ${offset} does not fit its CRC-32`, data);
}

/** Bytes of an entry that are read at a time. */
const CRC_BYTES = 256 * 1024;
const crcBuffer = Buffer.allocUnsafe(CRC_BYTES);
