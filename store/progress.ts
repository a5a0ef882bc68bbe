import { ImgstoreError } from '../errors/index.ts';
import type { NewObjects } from './objects/new-objects.ts';

/** How far an operation is. Bytes of guest data. */
export interface Progress {
  readonly done: number;
  /** About how much there will be. */
  readonly total: number;
}

/** What a long operation takes from its caller. */
export interface Monitor {
  /** Called often; must be quick. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Stops the operation, which then leaves no trace. */
  readonly signal?: AbortSignal | undefined;
  /** Called with what the user should know and cannot act on now. */
  readonly onNotice?: ((notice: string) => void) | undefined;
  /** Of an operation that stores disks. */
  readonly newObjects?: NewObjects | undefined;
}

/** @throws ImgstoreError `INTERRUPTED` when the caller wants to stop. */
export function throwIfStopped(monitor: Monitor): void {
  if (monitor.signal?.aborted) throw new ImgstoreError('INTERRUPTED', 'interrupted: nothing was changed');
}
