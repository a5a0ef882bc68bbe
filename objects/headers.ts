import { ImgstoreError } from '../errors/index.ts';

/**
 * The lines before the message of a commit or tag: `key value`, a value's further lines begin with a space
 * (git: gitformat-commit; that is how `gpgsig` spans lines).
 */
export interface HeaderLine {
  readonly key: string;
  readonly value: string;
}

/** Header lines, an empty line, the message. */
export function encodeHeaders(lines: readonly HeaderLine[], message: string): Buffer {
  const head = lines.map(({ key, value }) => `${key} ${value.replaceAll('\n', '\n ')}\n`).join('');
  return Buffer.from(`${head}\n${message}`, 'utf8');
}

/**
 * The inverse of {@link encodeHeaders}.
 * @throws ImgstoreError `DAMAGED` when a line has no key.
 */
export function parseHeaders(data: Uint8Array): {
  readonly lines: readonly HeaderLine[];
  readonly message: string;
} {
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString('utf8');
  const gap = text.startsWith('\n') ? 0 : text.indexOf('\n\n');
  const head = gap < 0 ? text.replace(/\n$/, '') : text.slice(0, gap);
  const lines: HeaderLine[] = [];
  for (const line of head === '' ? [] : head.split('\n')) {
    const last = lines.at(-1);
    const space = line.indexOf(' ');
    if (space === 0 && last !== undefined) {
      lines[lines.length - 1] = { key: last.key, value: `${last.value}\n${line.slice(1)}` };
    } else if (space > 0) {
      lines.push({ key: line.slice(0, space), value: line.slice(space + 1) });
    } else {
      throw new ImgstoreError('DAMAGED', `a header line '${line}' has no key`, { line });
    }
  }
  return { lines, message: gap < 0 ? '' : text.slice(head === '' ? 1 : gap + 2) };
}

/** The value of the only header `key`. @throws ImgstoreError `DAMAGED` when it is missing. */
export function requireHeader(kind: string, lines: readonly HeaderLine[], key: string): string {
  const line = lines.find((each) => each.key === key);
  if (line === undefined) throw new ImgstoreError('DAMAGED', `a ${kind} has no '${key}' line`, { key });
  return line.value;
}
