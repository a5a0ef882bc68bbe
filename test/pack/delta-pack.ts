import { nodeDeflate, objectId } from '../../objects/index.ts';
import { DeltaBase, encodeDelta, PackWriter } from '../../pack/index.ts';
import { mixed, noise } from '../objects/noise.ts';

/** A blob of a chain: the one before it is its base. */
export interface ChainLink {
  readonly id: string;
  readonly data: Buffer;
  readonly depth: number;
}

/** Versions of one blob, each a few bytes away from the one before; it grows and shrinks on the way. */
export function versions(count: number, seed: number, size = 20_000): ChainLink[] {
  let data: Buffer = mixed(size, seed);
  return Array.from({ length: count }, (_, depth) => {
    const at = (depth * 997) % (data.length - 100);
    data = Buffer.concat([
      data.subarray(0, at),
      noise(30 + depth, seed * 100 + depth),
      data.subarray(at + 33),
    ]);
    return { id: objectId('blob', data), data, depth };
  });
}

/** Adds a chain to a pack, the first of it whole; between its links may come other entries. */
export async function addChain(
  writer: PackWriter,
  chain: readonly ChainLink[],
  between: (depth: number) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  let base = 0;
  for (const [depth, { id, data }] of chain.entries()) {
    const place = writer.bytes;
    if (depth === 0) {
      await writer.add({ id, type: 'blob', size: data.length, deflated: nodeDeflate.deflate(data, 1) });
    } else {
      const delta = encodeDelta(new DeltaBase(chain[depth - 1]!.data), data);
      await writer.addDelta({ id, size: delta.length, deflated: nodeDeflate.deflate(delta, 1), base });
    }
    base = place;
    await between(depth);
  }
}

/** A pack of these chains, one behind the other, under its path without ending. */
export async function writeChains(
  folder: string,
  chains: readonly (readonly ChainLink[])[],
): Promise<string> {
  const writer = await PackWriter.create(folder);
  for (const chain of chains) await addChain(writer, chain);
  return (await writer.finish()).publish();
}
