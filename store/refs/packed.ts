import { ImgstoreError } from '../../errors/index.ts';
import { isId, type ObjectId } from '../../objects/index.ts';

/** A ref in `packed-refs`; `peeled` is what an annotated tag leads to. */
export interface PackedRef {
  readonly name: string;
  readonly id: ObjectId;
  readonly peeled: ObjectId | undefined;
}

/** Where the name begins in a line: behind an id of 64 digits and a space. */
const NAME_OFFSET = 65;

/**
 * Parses `packed-refs` (git: gitrepository-layout): `<id> <name>` lines, `^<id>` below an annotated tag, `#` comments.
 * @throws ImgstoreError `DAMAGED` naming the line.
 */
export function parsePackedRefs(text: string, path: string): PackedRef[] {
  const refs: PackedRef[] = [];
  text.split('\n').forEach((line, i) => {
    if (line === '' || line.startsWith('#')) return;
    const last = refs.at(-1);
    const peeled = line.startsWith('^') ? line.slice(1) : undefined;
    if (peeled !== undefined && isId(peeled) && last !== undefined) {
      refs[refs.length - 1] = { ...last, peeled };
      return;
    }
    const [id, name] = [line.slice(0, NAME_OFFSET - 1), line.slice(NAME_OFFSET)];
    if (!isId(id) || line[NAME_OFFSET - 1] !== ' ' || name === '') {
      throw new ImgstoreError(
        'DAMAGED',
        `${path}:${i + 1}: '${line}' is not a packed ref: mend or remove this line`,
        { path, line: i + 1 },
      );
    }
    refs.push({ name, id, peeled: undefined });
  });
  return refs;
}

/** The text of `packed-refs` without one ref; all else stays as git wrote it, and so what the first line says of it stays true. */
export function withoutPackedRef(text: string, name: string): string {
  let removing = false;
  const lines = text.split('\n').filter((line) => {
    removing = line.startsWith('^') ? removing : line.slice(NAME_OFFSET) === name;
    return !removing;
  });
  return lines.join('\n');
}
