import type { Sharing } from './sharing.ts';

/** How the files of one store are made and locked. A process may have several stores open, each with its own. */
export interface FileRules {
  /** Who else may use the files that are made; as the umask says when not given. */
  readonly sharing?: Sharing | undefined;
  /** How long a lock is waited for that another process holds, in milliseconds, 0 for not at all, Infinity for ever; as each lock needs it when not given. */
  readonly lockWaitMs?: number | undefined;
  /** Ends a wait for a lock. */
  readonly signal?: AbortSignal | undefined;
}
