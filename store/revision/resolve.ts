import { counted, ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { isId, NULL_ID, type ObjectId, parseCommit } from '../../objects/index.ts';
import { findSuccessors } from '../forget/successors.ts';
import { LEAST_PREFIX_DIGITS } from '../objects/database.ts';
import { describeDamage } from '../refs/damage.ts';
import { BRANCHES, REMOTES, refNameFault, shortRefName, TAGS } from '../refs/name.ts';
import type { Ref } from '../refs/refs.ts';
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
  if (ref !== undefined) await refuseLost(store, ref);
  const start = ref?.id ?? (await findId(store, revision, text));
  const id = walkSteps(store, text, start, revision.steps);
  return { id, ref: revision.steps.length === 0 ? ref?.name : undefined };
}

/** The commit that a revision names, through tags. @throws ImgstoreError as {@link resolveRevision}, `NOT_FOUND` when it is no commit. */
export async function resolveCommit(store: Store, text: string): Promise<ObjectId> {
  return peelToCommit(store, text, (await resolveRevision(store, text)).id);
}

/**
 * The ref that a name means, as git looks for it; one that cannot be read is passed over for another of the name.
 * @throws ImgstoreError `DAMAGED` when there is no other
 */
export async function findRef(store: Store, name: string): Promise<Ref | undefined> {
  if (isId(name)) return undefined;
  let damaged: { readonly full: string; readonly fault: ImgstoreError } | undefined;
  for (const place of PLACES) {
    const full = place(name);
    // Only HEAD lies outside of refs/: nothing else in the store's folder is a ref, whatever it is named.
    if (full !== 'HEAD' && (!full.startsWith('refs/') || refNameFault(full) !== undefined)) continue;
    const { id, fault } = await store.refs.follow(full);
    if (id !== undefined) return { name: full, id };
    if (fault !== undefined) damaged ??= { full, fault };
  }
  if (damaged === undefined) return undefined;
  throw await damagedError(store, damaged.full, damaged.fault);
}

/** Fails, with the way out, when a ref's object is not in the store. */
async function refuseLost(store: Store, ref: Ref): Promise<void> {
  try {
    store.objects.peel(ref.id);
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    throw await damagedError(store, ref.name, error);
  }
}

async function damagedError(store: Store, ref: string, fault: ImgstoreError): Promise<ImgstoreError> {
  return new ImgstoreError(
    fault.code,
    await describeDamage(store, ref, fault),
    { ...fault.data, ref },
    fault,
  );
}

async function noHead(store: Store, text: string): Promise<ImgstoreError> {
  const data = { revision: text };
  if ((await store.refs.list(BRANCHES)).length === 0)
    return new ImgstoreError('NOT_FOUND', "the store has no version yet: run 'imgstore commit IMAGE'", data);
  const { name } = await store.refs.follow('HEAD');
  const target = shortRefName(name);
  return new ImgstoreError(
    'NOT_FOUND',
    `HEAD names '${target}', which does not exist: name a version instead; see 'imgstore images'`,
    data,
  );
}

/** What a version that was written again is now. @throws ImgstoreError `NOT_FOUND` for one that was forgotten, `AMBIGUOUS`. */
async function findSuccessor(store: Store, prefix: string, text: string): Promise<ObjectId | undefined> {
  const tips = (await store.refs.list()).map(({ id }) => id);
  const found = findSuccessors(store.objects, tips, prefix);
  const now = new Set([...found.values()].filter(({ isSame }) => isSame).map(({ commit }) => commit));
  if (now.size > 1)
    throw new ImgstoreError(
      'AMBIGUOUS',
      `'${text}' is the start of ${now.size} ids of before: write more digits`,
      {
        revision: text,
        candidates: [...found.keys()].slice(0, MOST_CANDIDATES),
      },
    );
  const [same] = now;
  const [forgotten] = found.values();
  if (same !== undefined || forgotten === undefined) return same;
  throw new ImgstoreError(
    'NOT_FOUND',
    `version '${text}' was forgotten: the next that was kept is ${forgotten.commit.slice(0, 12)}`,
    { revision: text, next: forgotten.commit },
  );
}

async function findId(store: Store, { name }: Revision, text: string): Promise<ObjectId> {
  if (name === 'HEAD') throw await noHead(store, text);
  const prefix = name.toLowerCase();
  const looksLikeId = /^[0-9a-f]{4,64}$/.test(prefix);
  const ids = looksLikeId ? store.objects.withPrefix(prefix) : [];
  if (ids.length === 1) return ids[0]!;
  const became = looksLikeId && ids.length === 0 ? await findSuccessor(store, prefix, text) : undefined;
  if (became !== undefined) return became;
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
  if (back === 0) return ref.id;
  const end = await store.refs.follow(ref.name);
  // A symbolic ref may have a log of its own, of where it led; that of HEAD is the log of what it names now.
  const own = ref.name === 'HEAD' ? [] : await store.refs.logs.read(ref.name);
  const logged = own.length > 0 ? ref.name : end.name;
  const entries = own.length > 0 ? own : await store.refs.logs.read(logged);
  // Each line has the id before and after a move: `@{n}` is before the n-th last.
  const id = entries.at(-back)?.before;
  if (id === undefined || id === NULL_ID) {
    const moves = entries.filter((entry) => entry.before !== NULL_ID).length;
    throw new ImgstoreError(
      'NOT_FOUND',
      `'${text}': the log of '${shortRefName(logged)}' goes back ${counted(moves, 'move')} only`,
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
