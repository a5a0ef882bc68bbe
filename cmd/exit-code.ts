import { CommanderError } from 'commander';
import { type ErrorCode, ImgstoreError } from '../errors/index.ts';

/** Exit codes; scripts rely on them. */
export const ExitCode = {
  done: 0,
  /** Failed; for verbs that compare: different. */
  failed: 1,
  usage: 2,
  /** Done, but for what is damaged. */
  damage: 3,
  /** The store or a ref is busy. */
  busy: 4,
  noStore: 5,
  interrupted: 130,
} as const;

const BY_ERROR: Partial<Record<ErrorCode, number>> = {
  USAGE: ExitCode.usage,
  NO_STORE: ExitCode.noStore,
  BUSY: ExitCode.busy,
  REF_MOVED: ExitCode.busy,
  INTERRUPTED: ExitCode.interrupted,
};

/**
 * The exit code of a failure.
 * @param compares whether 1 means "different" for the verb, so that trouble must be 2 or more
 */
export function exitCodeOf(error: unknown, compares: boolean): number {
  if (error instanceof CommanderError) return ExitCode.usage;
  const code = (error instanceof ImgstoreError ? BY_ERROR[error.code] : undefined) ?? ExitCode.failed;
  return compares && code === ExitCode.failed ? ExitCode.usage : code;
}
