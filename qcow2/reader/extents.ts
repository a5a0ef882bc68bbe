import type { BlockSource, ComparedKind, ExtentKind } from '../../block/index.ts';
import type { ClusterMap } from './cluster-map.ts';
import type { DataClaims } from './data-claims.ts';

/** A range with one kind; bytes. */
interface RangeOf<Kind> {
  readonly offset: number;
  readonly length: number;
  readonly kind: Kind;
}

/** What tells its extents. Those of a disk that is compared with another may be `same`. */
export interface ExtentSource<Kind extends ComparedKind = ExtentKind> {
  /** Bytes. */
  readonly size: number;
  extents(offset: number, length: number): AsyncIterable<RangeOf<Kind>>;
}

/**
 * Extents of one layer and what lies below it, for guest offsets `from` to `to`.
 *
 * Data that is a hole of the host file (preallocated, or beyond the file's end) is `zero`: it reads as zeros and
 * hides the backing. Beyond the end of a shorter backing file there is nothing but holes.
 * @param data where data lies as it is; undefined when it is encrypted, so that its holes do not read as zeros.
 * @throws ImgstoreError `BAD_IMAGE` when there is more data than `claims` has room for.
 */
export async function* layerExtents<Kind extends ComparedKind>(
  map: ClusterMap,
  data: BlockSource | undefined,
  backing: ExtentSource<Kind> | undefined,
  claims: DataClaims,
  from: number,
  to: number,
): AsyncIterable<RangeOf<Kind | ExtentKind>> {
  for (let at = from; at < to; ) {
    const found = map.runAt(at, to);
    const { kind, host, length } = found instanceof Promise ? await found : found;
    switch (kind) {
      case 'zero':
        yield { offset: at, length, kind: 'zero' };
        break;
      case 'compressed':
        yield { offset: at, length, kind: 'data' };
        break;
      case 'data':
        claims.add(length);
        if (data === undefined) yield { offset: at, length, kind: 'data' };
        else yield* extentsBelow(data, host, at, length, 'zero');
        break;
      case 'unallocated':
        if (backing === undefined) yield { offset: at, length, kind: 'hole' };
        else yield* extentsBelow(backing, at, at, length, 'hole');
    }
    at += length;
  }
}

/** Merges neighbours of one kind. */
export async function* coalesce<Kind extends ComparedKind>(
  extents: AsyncIterable<RangeOf<Kind>>,
): AsyncIterable<RangeOf<Kind>> {
  let offset = 0;
  let length = 0;
  let kind: Kind | undefined;
  for await (const extent of extents) {
    if (extent.kind === kind) {
      length += extent.length;
      continue;
    }
    if (kind !== undefined) yield { offset, length, kind };
    ({ offset, length, kind } = extent);
  }
  if (kind !== undefined) yield { offset, length, kind };
}

/**
 * Extents of `source` from `start` on, moved to guest offset `at`.
 * @param absent the kind of what lies beyond its end, and of holes if this layer owns the range.
 */
async function* extentsBelow<Kind extends ComparedKind>(
  source: ExtentSource<Kind>,
  start: number,
  at: number,
  length: number,
  absent: 'zero' | 'hole',
): AsyncIterable<RangeOf<Kind | ExtentKind>> {
  const present = Math.max(0, Math.min(length, source.size - start));
  if (present > 0) {
    for await (const extent of source.extents(start, present)) {
      yield {
        offset: extent.offset - start + at,
        length: extent.length,
        kind: extent.kind === 'hole' ? absent : extent.kind,
      };
    }
  }
  if (present < length) yield { offset: at + present, length: length - present, kind: absent };
}
