/** A byte of flags for each object, by its number; objects that came late have theirs in a map. */
export class ObjectFlags {
  readonly #flags: Uint8Array;
  readonly #late = new Map<number, number>();

  /** @param count numbers below it are known from the start */
  constructor(count: number) {
    this.#flags = new Uint8Array(count);
  }

  has(number: number, flag: number): boolean {
    const flags = number < this.#flags.length ? this.#flags[number]! : (this.#late.get(number) ?? 0);
    return (flags & flag) !== 0;
  }

  /** Returns true when the flag was not set before. */
  set(number: number, flag: number): boolean {
    if (this.has(number, flag)) return false;
    if (number < this.#flags.length) this.#flags[number]! |= flag;
    else this.#late.set(number, (this.#late.get(number) ?? 0) | flag);
    return true;
  }

  /** How many of the numbers known from the start have a flag. */
  count(flag: number): number {
    let count = 0;
    for (const flags of this.#flags) if ((flags & flag) !== 0) count++;
    return count;
  }
}
