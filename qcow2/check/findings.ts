/**
 * How bad a finding is:
 * - `corruption`: the image contradicts itself: data is lost, or will be by the next write;
 * - `leak`: room in the file that nothing uses; harmless;
 * - `error`: a part of the image could not be judged.
 */
export type FindingKind = 'corruption' | 'leak' | 'error';

/** One thing that is wrong. */
export interface Finding {
  readonly kind: FindingKind;
  /** Host offset in bytes of what is wrong, or of the table that says so. */
  readonly offset: number;
  readonly message: string;
}

/** A damaged image can have millions; these are enough to see what happened. */
export const MAX_FINDINGS = 100;

/** Counts all findings and keeps the first {@link MAX_FINDINGS}. */
export class Findings {
  readonly list: Finding[] = [];
  readonly #counts: Record<FindingKind, number> = { corruption: 0, leak: 0, error: 0 };
  /** Findings that are counted but not kept. */
  omitted = 0;

  count(kind: FindingKind): number {
    return this.#counts[kind];
  }

  /** @param message made only when the finding is kept. @param times how often the same was found. */
  add(kind: FindingKind, offset: number, message: () => string, times = 1): void {
    this.#counts[kind] += times;
    if (this.list.length < MAX_FINDINGS) this.list.push({ kind, offset, message: message() });
    else this.omitted++;
  }
}
