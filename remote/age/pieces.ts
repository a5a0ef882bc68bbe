/** Bytes that come in pieces of any length, cut into pieces of `length` bytes; the last one may be shorter. Nothing comes of nothing. */
export async function* inPieces(source: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Buffer> {
  let kept: Uint8Array[] = [];
  let keptBytes = 0;
  for await (const bytes of source) {
    let at = 0;
    while (keptBytes + bytes.length - at >= length) {
      const end = at + length - keptBytes;
      yield joined([...kept, bytes.subarray(at, end)]);
      [kept, keptBytes, at] = [[], 0, end];
    }
    if (at === bytes.length) continue;
    kept.push(bytes.subarray(at));
    keptBytes += bytes.length - at;
  }
  if (keptBytes > 0) yield joined(kept);
}

function joined(parts: readonly Uint8Array[]): Buffer {
  const [first] = parts;
  if (parts.length > 1 || first === undefined) return Buffer.concat(parts);
  return Buffer.from(first.buffer, first.byteOffset, first.byteLength);
}

/** What was found at the beginning of a stream, and all bytes behind it, which are to be read or else the stream stays open. */
export interface Split<T> {
  readonly found: T;
  readonly rest: AsyncIterable<Uint8Array>;
}

/** Reads on until `find` finds something in the bytes so far, of which it takes `end`, or throws; it must do so when they are all. */
export async function splitOff<T>(
  source: AsyncIterable<Uint8Array>,
  find: (bytes: Uint8Array, isAll: boolean) => Promise<{ found: T; end: number } | undefined>,
): Promise<Split<T>> {
  const iterator = source[Symbol.asyncIterator]();
  let bytes = Buffer.alloc(0);
  try {
    for (;;) {
      const { value, done } = await iterator.next();
      if (done !== true) bytes = Buffer.concat([bytes, value]);
      const result = await find(bytes, done === true);
      if (result !== undefined) {
        return { found: result.found, rest: following(bytes.subarray(result.end), iterator) };
      }
    }
  } catch (error) {
    await iterator.return?.();
    throw error;
  }
}

async function* following(
  first: Uint8Array,
  iterator: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield first;
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value;
  } finally {
    await iterator.return?.();
  }
}
