/**
 * Deltas (git: gitformat-pack, "Deltified representation"): the size of the base and of the result, 7 bits a byte, lowest first; then
 *
 * ```text
 * 1xxxxxxx  copy: bits 0–3 say which bytes of the offset follow, bits 4–6 which of the size; size 0 is 64 KiB
 * 0xxxxxxx  insert the next x bytes; x = 0 is reserved
 * ```
 */
export const COPY = 0x80;
/** The first of the bits that say which bytes of a copy's offset follow. */
export const COPY_OFFSET_BIT = 0x01;
export const COPY_OFFSET_BYTES = 4;
/** The first of the bits that say which bytes of a copy's size follow. */
export const COPY_SIZE_BIT = 0x10;
export const COPY_SIZE_BYTES = 3;
export const COPY_SIZE_OF_ZERO = 0x10000;
/** The longest insert of one instruction. */
export const MOST_INSERT = 0x7f;
