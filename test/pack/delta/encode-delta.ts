/** One step of a delta. */
export type Step = { readonly copy: number; readonly length: number } | { readonly insert: Uint8Array };

/** A number as deltas hold it: 7 bits a byte, lowest first. */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push(0x80 | (rest % 128));
  }
}

/** A copy instruction in its shortest form; a length of 64 KiB needs no bytes for it. */
export function copy(offset: number, length: number): Buffer {
  let code = 0x80;
  const bytes: number[] = [];
  const put = (value: number, from: number, count: number) => {
    for (let i = 0; i < count; i++) {
      const byte = Math.floor(value / 256 ** i) % 256;
      if (byte === 0) continue;
      code |= from << i;
      bytes.push(byte);
    }
  };
  put(offset, 1, 4);
  if (length !== 0x10000) put(length, 0x10, 3);
  return Buffer.from([code, ...bytes]);
}

/** A delta of these steps (git: gitformat-pack). */
export function encodeDelta(baseLength: number, resultLength: number, steps: readonly Step[]): Buffer {
  const parts: Uint8Array[] = [varint(baseLength), varint(resultLength)];
  for (const step of steps) {
    if ('copy' in step) {
      parts.push(copy(step.copy, step.length));
    } else {
      for (let at = 0; at < step.insert.length; at += 127) {
        const piece = step.insert.subarray(at, at + 127);
        parts.push(Buffer.of(piece.length), piece);
      }
    }
  }
  return Buffer.concat(parts);
}

/** What steps make of a base, the obvious way. */
export function resultOf(base: Uint8Array, steps: readonly Step[]): Buffer {
  return Buffer.concat(
    steps.map((step) => ('copy' in step ? base.subarray(step.copy, step.copy + step.length) : step.insert)),
  );
}

/** A whole delta: sizes from the steps themselves. */
export function deltaOf(base: Uint8Array, steps: readonly Step[]): Buffer {
  return encodeDelta(base.length, resultOf(base, steps).length, steps);
}
