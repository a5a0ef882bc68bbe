const SIZE_PATTERN = /^([0-9]+)(?:([kmgt])(?:i?b)?|b)?$/i;
const SCALES: Readonly<Record<string, number>> = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** Bytes meant by `65536`, `64K`, `64KiB`, `1M`, `2G`, `1T`; undefined for anything else or beyond 2^53. */
export function parseSize(text: string): number | undefined {
  const match = SIZE_PATTERN.exec(text.trim());
  if (match === null) return undefined;
  const size = Number(match[1]) * (SCALES[match[2]?.toLowerCase() ?? ''] ?? 1);
  return Number.isSafeInteger(size) ? size : undefined;
}
