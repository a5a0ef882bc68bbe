import type { ErrorCode, ErrorData } from '../../errors/index.ts';

/** What a thread is asked to do. */
export interface Question {
  /** That the answer comes with. */
  readonly number: number;
  /** Of a kind of job (see thread.ts). */
  readonly name: string;
  readonly job: unknown;
}

/** What became of a job; a failure as data, since a thrown error loses its code on the way. */
export type Answer<T> =
  | { readonly value: T }
  | { readonly failure: { readonly code: ErrorCode; readonly message: string; readonly data: ErrorData } };

/** What a thread says when it has come up. */
export const READY = 'ready';
