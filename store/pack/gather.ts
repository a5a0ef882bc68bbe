import type { ObjectId } from '../../objects/index.ts';
import { type Pack, PackOrder, PackSurvey } from '../../pack/index.ts';
import type { ObjectDatabase } from '../objects/database.ts';
import { type GatheredObject, LOOSE, NO_BASE, ObjectTable, type SourcePack } from './object-table.ts';
import type { PackPlan } from './plan.ts';

/**
 * Looks at every object that a plan gathers and the body lacks: kind, size, and what it is stored as.
 * @param keepDeltas takes deltas over as they are, instead of looking for a better base
 * @throws ImgstoreError `DAMAGED` when an entry or a loose object cannot be read
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
      const header = isInBody(id) ? undefined : database.loose.header(id);
      // Gone meanwhile: another process has packed it.
      if (header !== undefined) yield { id, ...header, source: LOOSE, entry: 0, keptBase: NO_BASE };
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
      // What has no type cannot be read, and the pack says why.
      const type = survey.type(position) ?? pack.header(position).type;
      const size = pack.sizeAt(order.offset(entry));
      yield { id, type, size, source, entry, keptBase: keptBase(pack, survey.base(position)) };
    }
  }
}
