import { badImage } from './fault.ts';

/** Letters of a value that an error shows. */
const SHOWN = 40;
const DIGITS = /^\d{1,20}$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** No name of a cipher, a hash or a type is longer. */
const MAX_TEXT = 64;

/** An object of a file's JSON. Each access checks what is there and words the error about it. */
export class JsonObject {
  readonly #value: object;
  readonly #path: string;
  readonly #structure: string;
  readonly #image: string;

  /** @param structure what the JSON is, @param image the file's name, @param path where in it this is, for errors. */
  constructor(value: object, structure: string, image: string, path = '') {
    this.#value = value;
    this.#structure = structure;
    this.#image = image;
    this.#path = path;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#value, key);
  }

  /** The object's keys, in the order that the language gives them: numbers first, ascending. */
  get keys(): readonly string[] {
    return Object.keys(this.#value);
  }

  object(key: string): JsonObject {
    const value = this.#get(key);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.bad(key, 'is not an object');
    }
    return new JsonObject(value, this.#structure, this.#image, this.#at(key));
  }

  /** A whole number from `min` to `max`. */
  integer(key: string, min: number, max: number): number {
    const value = this.#get(key);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw this.bad(key, `is not a whole number from ${min} to ${max}`);
    }
    return value;
  }

  /** A whole number of at most `max`, written as text in decimal digits. */
  decimal(key: string, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.#get(key);
    if (typeof value !== 'string' || !DIGITS.test(value) || BigInt(value) > BigInt(max)) {
      throw this.bad(key, `is not a text of decimal digits for at most ${max}`);
    }
    return Number(value);
  }

  /** A short text that is not empty. */
  text(key: string): string {
    const value = this.#get(key);
    if (typeof value !== 'string' || value === '' || value.length > MAX_TEXT) {
      throw this.bad(key, `is not a text of 1 to ${MAX_TEXT} letters`);
    }
    return value;
  }

  /** A list of texts. */
  texts(key: string): readonly string[] {
    const value = this.#get(key);
    if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) {
      throw this.bad(key, 'is not a list of texts');
    }
    return value;
  }

  /** From `min` to `max` bytes in base64. */
  bytes(key: string, min: number, max: number): Buffer {
    const value = this.#get(key);
    if (typeof value === 'string' && value.length <= Math.ceil(max / 3) * 4 && BASE64.test(value)) {
      const bytes = Buffer.from(value, 'base64');
      if (bytes.length >= min && bytes.length <= max) return bytes;
    }
    throw this.bad(key, `is not ${min === max ? min : `${min} to ${max}`} bytes in base64`);
  }

  /** The error for a field, to be thrown. */
  bad(key: string, why: string): Error {
    const field = this.#at(key);
    const shown = this.has(key) ? `= ${show(this.#get(key))} ${why}` : 'is missing';
    return badImage(this.#image, `${this.#structure} field ${field} ${shown}`, { field });
  }

  #get(key: string): unknown {
    return this.has(key) ? (this.#value as Record<string, unknown>)[key] : undefined;
  }

  #at(key: string): string {
    return `${this.#path}${this.#path === '' ? '' : '.'}${DIGITS.test(key) || /^\w{1,20}$/.test(key) ? key : show(key)}`;
  }
}

/** A value in one line of some length; what has parts is not shown, since it may be deep. */
function show(value: unknown): string {
  if (Array.isArray(value)) return '[…]';
  if (typeof value === 'object' && value !== null) return '{…}';
  if (typeof value !== 'string' || value.length <= SHOWN) return JSON.stringify(value);
  return `${JSON.stringify(value.slice(0, SHOWN))}…`;
}
