import { encodeBitmap, type NewBitmap } from '../meta/bitmap-encode.ts';
import { MAX_BITMAPS } from '../meta/bitmap-layout.ts';
import type { ImagePlan } from './options.ts';
import { usage } from './usage.ts';

/** The entries of the bitmap directory of an image in the making. */
export class BitmapList {
  readonly #bitmaps: NewBitmap[] = [];

  get count(): number {
    return this.#bitmaps.length;
  }

  /** Looks at a bitmap's name before its bits are written. @throws ImgstoreError `USAGE` when there cannot be such a bitmap. */
  admit(wanted: string, plan: ImagePlan): void {
    if (plan.version === 2) throw usage('version 0.10 has no bitmaps');
    if (this.#bitmaps.length === MAX_BITMAPS) throw usage(`more than ${MAX_BITMAPS} bitmaps`);
    if (this.#bitmaps.some(({ name }) => name === wanted)) throw usage(`bitmap ${wanted} comes twice`);
  }

  /** Adds an admitted bitmap whose bits are written. */
  add(bitmap: NewBitmap): void {
    this.#bitmaps.push(bitmap);
  }

  /** The directory's bytes. */
  encode(): Buffer {
    return Buffer.concat(this.#bitmaps.map(encodeBitmap));
  }
}
