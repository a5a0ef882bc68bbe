import { readdirSync } from 'node:fs';
import { fromSystem, systemCode } from '../errors/index.ts';

/**
 * The names in a folder, in no order that means anything; none when it is not there.
 * @param passedOver codes of the system with which it counts as empty, too
 * @throws ImgstoreError `IO`
 */
export function namesIn(folder: string, passedOver: ReadonlySet<string> = new Set()): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    const code = systemCode(error) ?? '';
    if (code === 'ENOENT' || passedOver.has(code)) return [];
    throw fromSystem(error, folder);
  }
}
