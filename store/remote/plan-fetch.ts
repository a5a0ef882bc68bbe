import { ImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { BRANCHES, REMOTES, TAGS } from '../refs/name.ts';
import type { Ref } from '../refs/refs.ts';
import { isPattern, mapRef, parseRefspec, type Refspec } from './refspec.ts';
import type { Remote } from './remote.ts';
import { isShared } from './shared-refs.ts';
import type { RemoteRefs } from './transport.ts';

/** A ref of a remote and the ref here that is to follow it. */
export interface FetchedRef {
  /** Full name on the remote. */
  readonly source: string;
  readonly id: ObjectId;
  /** Full name in the store. */
  readonly ref: string;
  /** Also where versions are taken away from it. */
  readonly force: boolean;
}

/** Where git looks for a short name on a remote (gitrevisions(7)). */
const PLACES = ['', 'refs/', TAGS, BRANCHES, REMOTES];

const ALL_TAGS: Refspec = { force: false, negative: false, source: `${TAGS}*`, destination: `${TAGS}*` };

/** Which refs are asked of a remote. */
export interface FetchPlan {
  readonly refs: readonly FetchedRef[];
  /** What was asked for or configured, with full names; not `allTags`, as tags of the store are its own too. */
  readonly specs: readonly Refspec[];
}

/**
 * Which refs of a remote go where.
 * @param asked refspecs or names; when there are none, what the remote's config says
 * @param allTags also every tag
 * @throws ImgstoreError `USAGE`, `NOT_FOUND` for a ref that the remote has not, `AMBIGUOUS` for two that would become one
 */
export function planFetch(
  remote: Remote,
  there: RemoteRefs,
  asked: readonly string[],
  allTags: boolean,
): FetchPlan {
  const configured = remote.fetch.map(parseRefspec);
  const wanted = asked.length > 0 ? asked.map(parseRefspec) : configured;
  const named = wanted.flatMap((spec) => complete(spec, configured, there));
  const specs = allTags ? [...named, ALL_TAGS] : named;
  const refs = new Map<string, FetchedRef>();
  for (const { name: source, id } of there.refs) {
    // A ref may be asked for twice, as by its name and by a pattern.
    for (const spec of specs) {
      const to = mapRef([spec, ...specs.filter(({ negative }) => negative)], source);
      if (to === undefined) continue;
      refuseDestination(to.name);
      const other = refs.get(to.name);
      if (other !== undefined && other.source !== source)
        throw new ImgstoreError(
          'AMBIGUOUS',
          `'${source}' and '${other.source}' would both become '${to.name}'`,
          {
            ref: to.name,
          },
        );
      refs.set(to.name, { source, id, ref: to.name, force: to.force || (other?.force ?? false) });
    }
  }
  return { refs: [...refs.values()].sort((a, b) => (a.ref < b.ref ? -1 : 1)), specs: named };
}

/** A refspec with full names on both sides. */
function complete(spec: Refspec, configured: readonly Refspec[], there: RemoteRefs): Refspec[] {
  if (spec.negative) return [spec];
  if (isPattern(spec)) {
    if (spec.destination === undefined)
      throw new ImgstoreError('USAGE', `'${spec.source}' does not say what the refs become: write SRC:DST`);
    return [{ ...spec, destination: fullDestination(spec.destination, spec.source) }];
  }
  const { name } = findSource(spec.source, there);
  if (spec.destination !== undefined)
    return [{ ...spec, source: name, destination: fullDestination(spec.destination, name) }];
  // Named alone it goes where the config has it; a tag, and what the config does not know, keeps its name.
  const to = mapRef(configured, name);
  const kept = name.startsWith(TAGS) ? name : undefined;
  const destination = to?.name ?? kept;
  if (destination === undefined)
    throw new ImgstoreError(
      'USAGE',
      `the config does not say what '${name}' becomes: write ${spec.source}:DST`,
      {
        ref: name,
      },
    );
  return [{ ...spec, force: spec.force || (to?.force ?? false), source: name, destination }];
}

/** The ref of a remote that a name means. */
function findSource(asked: string, { refs, head }: RemoteRefs): Ref {
  if (asked === 'HEAD') {
    const ref = refs.find(({ name }) => name === head);
    if (ref !== undefined) return ref;
  }
  for (const place of PLACES) {
    const ref = refs.find(({ name }) => name === place + asked);
    if (ref !== undefined) return ref;
  }
  throw new ImgstoreError(
    'NOT_FOUND',
    `the remote has no branch or tag '${asked}': see 'imgstore ls-remote'`,
    { ref: asked },
  );
}

/** A destination's full name: of the same kind as the source when it is short. */
export function fullDestination(destination: string, source: string): string {
  if (destination.startsWith('refs/')) return destination;
  return (source.startsWith(TAGS) ? TAGS : BRANCHES) + destination;
}

/** @throws ImgstoreError `BAD_NAME` */
function refuseDestination(name: string): void {
  if (isShared(name)) return;
  throw new ImgstoreError('BAD_NAME', `'${name}' cannot be a ref here: choose another in the refspec`, {
    name,
  });
}

/**
 * Tags that lead to what is here or comes, and that the store has not: what git fetches with branches.
 * @param isHere whether the store has an object, or gets it
 */
export function tagsToFollow(
  { refs, peeled }: RemoteRefs,
  taken: ReadonlySet<string>,
  isHere: (id: ObjectId) => boolean,
): FetchedRef[] {
  return refs
    .filter(({ name, id }) => name.startsWith(TAGS) && !taken.has(name) && isHere(peeled?.get(name) ?? id))
    .map(({ name, id }) => ({ source: name, id, ref: name, force: false }));
}
