import { ImgstoreError } from '../../errors/index.ts';
import { isId, NULL_ID, type ObjectId, parseCommit } from '../../objects/index.ts';
import { LEAST_PREFIX_DIGITS } from '../objects/database.ts';
import { BRANCHES, REMOTES, refNameFault, shortRefName, TAGS } from '../refs/name.ts';
import type { Store } from '../store.ts';
import { parseRevision, type Revision, type RevisionStep } from './parse.ts';

/** What a revision leads to. */
export interface Resolved {
  readonly id: ObjectId;
  /** Full name of the ref that the revision is, when it is nothing but a ref. */
  readonly ref: string | undefined;
}

/** Where a name is looked for, in git's order (gitrevisions(7)). */
const PLACES: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => `refs/${name}`,
  (name) => TAGS + name,
  (name) => BRANCHES + name,
  (name) => REMOTES + name,
  (name) => `${REMOTES}${name}/HEAD`,
];

/** Most candidates that an ambiguous prefix is answered with. */
const MOST_CANDIDATES = 5;

/**
 * The object that a revision names.
 * @throws ImgstoreError `NOT_FOUND`, `AMBIGUOUS` for a prefix of several ids, `USAGE` for what is not a revision
 */
export async function resolveRevision(store: Store, text: string): Promise<Resolved> {
  const revision = parseRevision(text);
  const [first, ...rest] = revision.steps;
  if (first?.kind === 'reflog')
    return {
      id: walkSteps(store, text, await fromReflog(store, revision, first.back, text), rest),
      ref: undefined,
    };
  const ref = await findRef(store, revision.name);
  const start = ref?.id ?? findId(store, revision, text);
  const id = walkSteps(store, text, start, revision.steps);
  return { id, ref: revision.steps.length === 0 ? ref?.name : undefined };
}

/** The commit that a revision names, through tags. @throws ImgstoreError as {@link resolveRevision}, `NOT_FOUND` when it is no commit. */
export async function resolveCommit(store: Store, text: string): Promise<ObjectId> {
  return peelToCommit(store, text, (await resolveRevision(store, text)).id);
}

/** The ref that a name means, as git looks for it. */
export async function findRef(
  store: Store,
  name: string,
): Promise<{ readonly name: string; readonly id: ObjectId } | undefined> {
  if (isId(name)) return undefined;
  for (const place of PLACES) {
    const full = place(name);
    // Only HEAD lies outside of refs/: nothing else in the store's folder is a ref, whatever it is named.
    if (full !== 'HEAD' && (!full.startsWith('refs/') || refNameFault(full) !== undefined)) continue;
    const id = await store.refs.resolve(full);
    if (id !== undefined) return { name: full, id };
  }
  return undefined;
}

function findId(store: Store, { name }: Revision, text: string): ObjectId {
  if (name === 'HEAD')
    throw new ImgstoreError('NOT_FOUND', "the store has no version yet: run 'imgstore commit IMAGE'", {
      revision: text,
    });
  const prefix = name.toLowerCase();
  const looksLikeId = /^[0-9a-f]{4,64}$/.test(prefix);
  const ids = looksLikeId ? store.objects.withPrefix(prefix) : [];
  if (ids.length === 1) return ids[0]!;
  if (ids.length > 1) {
    const some = ids.slice(0, MOST_CANDIDATES).map((id) => id.slice(0, Math.max(12, prefix.length + 4)));
    throw new ImgstoreError(
      'AMBIGUOUS',
      `'${name}' is the start of ${ids.length} ids (${some.join(', ')}${ids.length > some.length ? ', …' : ''}): write more digits`,
      {
        revision: text,
        candidates: ids.slice(0, MOST_CANDIDATES),
      },
    );
  }
  const hint =
    /^[0-9a-f]+$/.test(prefix) && prefix.length < LEAST_PREFIX_DIGITS
      ? `an id needs ${LEAST_PREFIX_DIGITS} digits`
      : "see 'imgstore images' and 'imgstore log'";
  throw new ImgstoreError('NOT_FOUND', `unknown revision '${text}': no branch, tag or id: ${hint}`, {
    revision: text,
  });
}

async function fromReflog(store: Store, { name }: Revision, back: number, text: string): Promise<ObjectId> {
  const ref = await findRef(store, name);
  if (ref === undefined)
    throw new ImgstoreError('NOT_FOUND', `unknown revision '${text}': no branch or tag '${name}'`, {
      revision: text,
    });
  const logged = ref.name === 'HEAD' ? ((await store.refs.symbolicTarget('HEAD')) ?? 'HEAD') : ref.name;
  const entries = await store.refs.logs.read(logged);
  if (back === 0) return ref.id;
  // Each line has the id before and after a move: `@{n}` is before the n-th last.
  const id = entries.at(-back)?.before;
  if (id === undefined || id === NULL_ID) {
    const moves = entries.filter((entry) => entry.before !== NULL_ID).length;
    throw new ImgstoreError(
      'NOT_FOUND',
      `'${text}': the log of '${shortRefName(logged)}' goes back ${moves} moves only`,
      { revision: text },
    );
  }
  return id;
}

function walkSteps(store: Store, text: string, start: ObjectId, steps: readonly RevisionStep[]): ObjectId {
  return steps.reduce((id, step) => walkStep(store, text, id, step), start);
}

function walkStep(store: Store, text: string, id: ObjectId, step: RevisionStep): ObjectId {
  if (step.kind === 'peel') {
    if (step.to === 'any') return store.objects.peel(id);
    const commit = peelToCommit(store, text, id);
    return step.to === 'commit' ? commit : parseCommit(store.objects.readAs('commit', commit)).tree;
  }
  let at = peelToCommit(store, text, id);
  const parents = () => parseCommit(store.objects.readAs('commit', at)).parents;
  if (step.kind === 'parent')
    return step.number === 0 ? at : requireParent(text, at, parents()[step.number - 1]);
  const count = step.kind === 'ancestor' ? step.count : 0;
  for (let i = 0; i < count; i++) at = requireParent(text, at, parents()[0]);
  return at;
}

function requireParent(text: string, id: ObjectId, parent: ObjectId | undefined): ObjectId {
  if (parent !== undefined) return parent;
  throw new ImgstoreError('NOT_FOUND', `'${text}' goes back too far: ${id.slice(0, 12)} has no such parent`, {
    revision: text,
    commit: id,
  });
}

function peelToCommit(store: Store, text: string, id: ObjectId): ObjectId {
  const commit = store.objects.peel(id);
  const { type } = store.objects.header(commit);
  if (type !== 'commit')
    throw new ImgstoreError('NOT_FOUND', `'${text}' is a ${type}, not a version`, { revision: text, type });
  return commit;
}
