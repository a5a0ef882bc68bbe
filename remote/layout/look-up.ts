import type { ObjectId } from '../../objects/index.ts';
import type { Idx } from '../../pack/index.ts';
import type { IndexLayer } from './index-layers.ts';
import type { PackKind, RemotePack } from './state.ts';

/** Packs of one kind in which objects are looked for together. */
export interface LookUp {
  readonly kind: PackKind;
  /** The pack's checksum, and where in it. */
  readonly find: (id: ObjectId) => { readonly pack: string; readonly offset: number } | undefined;
  readonly has: (id: ObjectId) => boolean;
}

/** Looks into one pack. */
export function inPack({ kind, pack }: RemotePack, idx: Idx): LookUp {
  return {
    kind,
    has: (id) => idx.find(id) !== undefined,
    find: (id) => {
      const position = idx.find(id);
      return position === undefined ? undefined : { pack, offset: idx.offset(position) };
    },
  };
}

/** Looks into many at once. */
export function inLayer(layer: IndexLayer, kind: PackKind): LookUp {
  return { kind, find: (id) => layer.find(id), has: (id) => layer.has(id) };
}
