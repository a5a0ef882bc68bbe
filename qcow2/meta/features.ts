import { unsupported } from './fault.ts';

/*
 * Feature bits (specification, section "Header", bytes 72 to 95). An unknown incompatible bit forbids reading;
 * unknown compatible and autoclear bits are no reader's business.
 */
export const INCOMPATIBLE_DIRTY = 1n << 0n;
export const INCOMPATIBLE_CORRUPT = 1n << 1n;
export const INCOMPATIBLE_DATA_FILE = 1n << 2n;
export const INCOMPATIBLE_COMPRESSION_TYPE = 1n << 3n;
export const INCOMPATIBLE_EXTENDED_L2 = 1n << 4n;
export const COMPATIBLE_LAZY_REFCOUNTS = 1n << 0n;
export const AUTOCLEAR_BITMAPS = 1n << 0n;
export const AUTOCLEAR_DATA_FILE_RAW = 1n << 1n;

const INCOMPATIBLE_KNOWN =
  INCOMPATIBLE_DIRTY |
  INCOMPATIBLE_CORRUPT |
  INCOMPATIBLE_DATA_FILE |
  INCOMPATIBLE_COMPRESSION_TYPE |
  INCOMPATIBLE_EXTENDED_L2;

/** Which of the three masks a name in the feature-name table is for. */
export type FeatureKind = 'incompatible' | 'compatible' | 'autoclear';

/** One entry of the feature-name table: what an image calls a feature bit. */
export interface FeatureName {
  readonly kind: FeatureKind;
  readonly bit: number;
  readonly name: string;
}

/**
 * Refuses incompatible bits that this reader does not know, by the name that the image itself gives them.
 * @throws ImgstoreError `UNSUPPORTED` naming each unknown bit.
 */
export function checkIncompatible(mask: bigint, names: readonly FeatureName[], image: string): void {
  const unknown = mask & ~INCOMPATIBLE_KNOWN;
  if (unknown === 0n) return;
  const bits: number[] = [];
  for (let bit = 0; bit < 64; bit++) if ((unknown >> BigInt(bit)) & 1n) bits.push(bit);
  const list = bits.map((bit) => {
    const named = names.find((entry) => entry.kind === 'incompatible' && entry.bit === bit);
    return named === undefined ? `bit ${bit}` : `bit ${bit} (${JSON.stringify(named.name)})`;
  });
  throw unsupported(
    image,
    `needs a qcow2 feature that imgstore does not know: ${list.join(', ')}: convert it with a newer qemu-img`,
    { field: 'incompatible_features', bits },
  );
}
