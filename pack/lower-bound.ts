/** The first of the ascending rows [low, high) that is not below what is looked for; `high` when all are. */
export function lowerBound(low: number, high: number, isBelow: (row: number) => boolean): number {
  let from = low;
  let to = high;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (isBelow(middle)) from = middle + 1;
    else to = middle;
  }
  return from;
}
