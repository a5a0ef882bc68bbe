/** Bytes that count how often one of them is looked at: work that does not depend on the machine. */
export class Counted {
  readonly bytes: Uint8Array;
  #reads = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = new Proxy(bytes, {
      get: (target, key) => {
        if (typeof key === 'string' && key >= '0' && key < ':') {
          this.#reads++;
          return target[key as unknown as number];
        }
        // Getters and methods of typed arrays work on the real one only.
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  get reads(): number {
    return this.#reads;
  }
}
