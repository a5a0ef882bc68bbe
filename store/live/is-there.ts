import { stat } from 'node:fs/promises';
import { systemCode } from '../../errors/index.ts';

/** Whether there is a file or folder of that name, for this process. */
export async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return false;
  }
}
