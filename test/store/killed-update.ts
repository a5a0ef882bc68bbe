import { vi } from 'vitest';
import { InPlaceFile } from '../../block/index.ts';

const CHANGES = ['write', 'zero', 'resize', 'sync'] as const;

/**
 * Runs something during which a call by which an image is changed in place fails, and all after it, as after a kill.
 * @param step which one, from 1
 * @returns whether it was done before: there are fewer calls
 */
export async function killedAt(step: number, run: () => Promise<unknown>): Promise<boolean> {
  let left = step;
  const spies = CHANGES.map((name) => {
    const original = InPlaceFile.prototype[name] as (this: InPlaceFile, ...args: never[]) => never;
    return vi.spyOn(InPlaceFile.prototype, name).mockImplementation(function (
      this: InPlaceFile,
      ...args: unknown[]
    ) {
      if (left-- <= 1) throw new Error('killed');
      return original.apply(this, args as never[]);
    });
  });
  try {
    await run();
    return true;
  } catch (error) {
    if ((error as Error).message !== 'killed') throw error;
    return false;
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
