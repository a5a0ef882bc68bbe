import { type ErrorCode, ImgstoreError } from '../../../errors/index.ts';
import { BrokenAnswer, LastingFault, PassingFault } from './fault.ts';
import type { S3Limits } from './options.ts';

/** Attempts at one thing, with pauses that grow between them: "Exponential backoff and jitter" of the AWS Architecture Blog. */
export class Attempts {
  readonly #request: string;
  readonly #limits: S3Limits;
  readonly #signal: AbortSignal | undefined;
  #failed = 0;

  /** @param request for messages: `s3://b/p: PUT packs/x.pack` */
  constructor(request: string, limits: S3Limits, signal: AbortSignal | undefined) {
    this.#request = request;
    this.#limits = limits;
    this.#signal = signal;
  }

  /** Something has come: what fails from here on has all attempts again. */
  progress(): void {
    this.#failed = 0;
  }

  /**
   * Waits until the next attempt may be made.
   * @throws ImgstoreError `REMOTE_UNREACHABLE` when this was the last one, or another one would fail as well, `REMOTE_FAILED` when what came last was no answer of S3; `INTERRUPTED`; what is no fault of a connection as it is
   */
  async again(error: unknown): Promise<void> {
    if (this.#signal?.aborted) throw interrupted(this.#request);
    if (error instanceof LastingFault) throw this.#failure('REMOTE_UNREACHABLE', error, error.message);
    if (!(error instanceof PassingFault)) throw error;
    this.#failed++;
    if (this.#failed >= this.#limits.attempts) {
      const often = this.#failed === 1 ? '' : ` (${this.#failed} attempts)`;
      const code = error instanceof BrokenAnswer ? 'REMOTE_FAILED' : 'REMOTE_UNREACHABLE';
      throw this.#failure(code, error, `${error.message}${often}`);
    }
    await pause(this.#pauseMs(error.retryAfterMs), this.#signal);
    if (this.#signal?.aborted) throw interrupted(this.#request);
  }

  #failure(code: ErrorCode, error: Error, why: string): ImgstoreError {
    return new ImgstoreError(code, `${this.#request}: ${why}`, {}, error.cause ?? error);
  }

  /** Half of the pause is left to chance, so that many who were turned away at once do not come back at once. */
  #pauseMs(retryAfterMs: number | undefined): number {
    const { firstPauseMs, longestPauseMs } = this.#limits;
    const whole = Math.min(firstPauseMs * 2 ** (this.#failed - 1), longestPauseMs);
    const own = whole / 2 + (Math.random() * whole) / 2;
    return Math.max(own, Math.min(retryAfterMs ?? 0, longestPauseMs));
  }
}

/** A request that was ended by the signal. */
export function interrupted(request: string): ImgstoreError {
  return new ImgstoreError('INTERRUPTED', `${request}: interrupted`);
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
  });
}
