import { encodeMidx, Idx, MemoryBytes, Midx, type MidxSource } from '../../../pack/index.ts';
import { idxOf, type Row } from '../idx/sample-idx.ts';

/** A pack that nobody made. */
export interface SamplePack {
  readonly name: string;
  readonly mtime: number;
  readonly rows: readonly Row[];
}

export function sourceOf({ name, mtime, rows }: SamplePack): MidxSource {
  return { name, mtime, idx: new Idx(new MemoryBytes(name, idxOf(rows))) };
}

/** The multi-pack-index over these packs. */
export function midxOf(packs: readonly SamplePack[]): Buffer {
  return Buffer.concat([...encodeMidx(packs.map(sourceOf))]);
}

export function openMidx(bytes: Uint8Array): Midx {
  return new Midx(new MemoryBytes('multi-pack-index', bytes));
}
