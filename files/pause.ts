import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits so long, or until the caller wants to stop.
 * @param interrupted what is thrown then
 */
export async function pause(
  milliseconds: number,
  signal: AbortSignal | undefined,
  interrupted: () => Error,
): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    if (signal?.aborted) throw interrupted();
    throw error;
  }
}
