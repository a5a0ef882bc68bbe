import { ImgstoreError } from '../../errors/index.ts';
import { isId, type ObjectId } from '../../objects/index.ts';

/** A ref in `packed-refs`; `peeled` is what an annotated tag leads to. */
export interface PackedRef {
  readonly name: string;
  readonly id: ObjectId;
  readonly peeled: ObjectId | undefined;
}

const HEADER = '# pack-refs with: peeled fully-peeled sorted \n';

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
    const [id, name] = [line.slice(0, 64), line.slice(65)];
    if (!isId(id) || line[64] !== ' ' || name === '') {
      throw new ImgstoreError('DAMAGED', `${path}:${i + 1}: '${line}' is not a packed ref`, {
        path,
        line: i + 1,
      });
    }
    refs.push({ name, id, peeled: undefined });
  });
  return refs;
}

/** The text of `packed-refs`. */
export function encodePackedRefs(refs: readonly PackedRef[]): string {
  const lines = refs.map(
    ({ name, id, peeled }) => `${id} ${name}\n${peeled === undefined ? '' : `^${peeled}\n`}`,
  );
  return HEADER + lines.join('');
}
