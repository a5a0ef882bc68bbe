import { ImgstoreError } from '../../errors/index.ts';
import { isId, type ObjectId } from '../../objects/index.ts';
import { otherFormat } from './failure.ts';

/** What `git ls-remote --symref` lists. */
export interface GitRefs {
  /** Full names as the remote has them, checked by nobody yet. */
  readonly refs: readonly { readonly name: string; readonly id: ObjectId }[];
  /** What annotated tags lead to. */
  readonly peeled: ReadonlyMap<string, ObjectId>;
  /** What HEAD names. */
  readonly head: string | undefined;
}

const PEELED = '^{}';

/**
 * Reads the output of `git ls-remote --symref`.
 * @throws ImgstoreError `UNSUPPORTED` for ids of SHA-1, `REMOTE_FAILED` for what is no list of refs
 */
export function parseGitRefs(where: string, output: string): GitRefs {
  const refs: { name: string; id: ObjectId }[] = [];
  const peeled = new Map<string, ObjectId>();
  let head: string | undefined;
  for (const line of output.split('\n')) {
    if (line === '') continue;
    const tab = line.indexOf('\t');
    const [what, name] = [line.slice(0, tab), line.slice(tab + 1)];
    if (what.startsWith('ref: ')) {
      if (name === 'HEAD') head = what.slice('ref: '.length);
    } else if (/^[0-9a-f]{40}$/.test(what)) throw otherFormat(where);
    else if (tab < 0 || !isId(what))
      throw new ImgstoreError(
        'REMOTE_FAILED',
        `${where}: git lists ${JSON.stringify(line.slice(0, 100))}, which is no ref`,
      );
    else if (name.endsWith(PEELED)) peeled.set(name.slice(0, -PEELED.length), what);
    else refs.push({ name, id: what });
  }
  return { refs, peeled, head };
}
