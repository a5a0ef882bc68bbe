import { badImage } from './fault.ts';

/** Reads fixed fields with bounds, and words the errors about them. */
export class HeaderFields {
  readonly #view: DataView;
  readonly image: string;
  readonly #structure: string;

  /** @param structure what the bytes are, for errors. */
  constructor(bytes: Uint8Array, image: string, structure = 'qcow2 header') {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.image = image;
    this.#structure = structure;
  }

  /** @throws ImgstoreError `BAD_IMAGE` when there are fewer than `length` bytes. */
  need(length: number): void {
    if (this.#view.byteLength >= length) return;
    throw badImage(
      this.image,
      `ends within the ${this.#structure}: ${this.#view.byteLength} of ${length} bytes`,
      { size: this.#view.byteLength },
    );
  }

  u8(at: number): number {
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    return this.#view.getUint16(at);
  }

  u32(at: number): number {
    return this.#view.getUint32(at);
  }

  mask(at: number): bigint {
    return this.#view.getBigUint64(at);
  }

  /** An offset or a size. @throws ImgstoreError `BAD_IMAGE` above 2^53 - 1. */
  u64(at: number, field: string): number {
    const value = this.#view.getBigUint64(at);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.bad(field, value, 'is above 2^53 - 1');
    return Number(value);
  }

  /** The error for `field`, to be thrown. */
  bad(field: string, value: number | bigint, why: string): Error {
    return badImage(this.image, `${this.#structure} field ${field} = ${value} ${why}`, {
      field,
      value: String(value),
    });
  }
}
