import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import { BRANCHES, TAGS } from '../refs/name.ts';
import type { Ref } from '../refs/refs.ts';
import { resolveCommit, resolveRevision } from '../revision/resolve.ts';
import type { Store } from '../store.ts';
import { isPattern, mapRef, parseRefspec, type Refspec } from './refspec.ts';
import { isShared } from './shared-refs.ts';
import type { RemoteRefs } from './transport.ts';

/** A ref that is to be moved on the remote. */
export interface PushedRef {
  /** Full name on the remote. */
  readonly ref: string;
  /** Undefined for a removal. */
  readonly to: ObjectId | undefined;
  readonly force: boolean;
}

/** What is asked to be pushed. */
export interface PushSelection {
  /** `branch`, `tag`, `SRC:DST`, `+SRC:DST`, `:DST`. */
  readonly refs: readonly string[];
  /** All refs named are to be removed. */
  readonly remove?: boolean | undefined;
  readonly allBranches?: boolean | undefined;
  readonly allTags?: boolean | undefined;
}

const pattern = (prefix: string): Refspec => ({
  force: false,
  negative: false,
  source: `${prefix}*`,
  destination: `${prefix}*`,
});

/**
 * Which refs of the remote are to go where.
 * @param configured `remote.<name>.push`: what is pushed when nothing is named
 * @throws ImgstoreError `NOT_FOUND`, `AMBIGUOUS`, `USAGE`, `BAD_NAME`
 */
export async function planPush(
  store: Store,
  there: RemoteRefs,
  { refs, remove, allBranches, allTags }: PushSelection,
  configured: readonly string[],
): Promise<PushedRef[]> {
  const own = await store.refs.list();
  const named = refs.length > 0 || allBranches || allTags;
  const texts = named ? refs : configured;
  const specs = texts.map((text) => (remove ? removal(text) : parseRefspec(text)));
  if (allBranches || (!named && configured.length === 0)) specs.push(pattern(BRANCHES));
  if (allTags) specs.push(pattern(TAGS));
  const negative = specs.filter((spec) => spec.negative);
  const pushed = new Map<string, PushedRef>();
  for (const spec of specs.filter((each) => !each.negative))
    for (const each of await expand(store, own, there, spec, negative)) {
      if (!isShared(each.ref))
        throw new ImgstoreError(
          'BAD_NAME',
          `'${each.ref}' cannot be a ref of a remote: choose another name`,
          {
            name: each.ref,
          },
        );
      const other = pushed.get(each.ref);
      if (other !== undefined && other.to !== each.to)
        throw new ImgstoreError('AMBIGUOUS', `'${each.ref}' is asked to go to two places`, { ref: each.ref });
      pushed.set(each.ref, { ...each, force: each.force || (other?.force ?? false) });
    }
  return [...pushed.values()];
}

/** `--delete NAME` */
function removal(text: string): Refspec {
  if (/[:*]|^[+^]/.test(text))
    throw new ImgstoreError('USAGE', `--delete ${text}: takes names only`, { refspec: text });
  return parseRefspec(`:${text}`);
}

async function expand(
  store: Store,
  own: readonly Ref[],
  there: RemoteRefs,
  spec: Refspec,
  negative: readonly Refspec[],
): Promise<PushedRef[]> {
  const { source, force } = spec;
  if (isPattern(spec)) {
    const both = { ...spec, destination: spec.destination ?? source };
    return own.flatMap(({ name, id }) => {
      const to = mapRef([both, ...negative], name);
      return to === undefined ? [] : [{ ref: to.name, to: id, force }];
    });
  }
  if (source === '') return [{ ref: nameThere(there, spec.destination!), to: undefined, force }];
  const from = await findSource(store, source);
  const ref = destinationOf(spec, from, there);
  // A branch is at a commit, also when a tag of it was named.
  const to =
    ref.startsWith(BRANCHES) && from.id !== undefined ? await resolveCommit(store, from.id) : from.id;
  return [{ ref, to, force }];
}

/** What `SRC` means here: its full name when it is a branch, a tag or another ref, and the object. */
async function findSource(
  store: Store,
  source: string,
): Promise<{ readonly name: string | undefined; readonly id: ObjectId }> {
  const full = await fullNames(store, source);
  if (full.length > 1)
    throw new ImgstoreError('AMBIGUOUS', `'${source}' is a branch and a tag: write ${full.join(' or ')}`, {
      ref: source,
    });
  const revision = full[0] ?? source;
  const { id, ref } = await resolveRevision(store, revision);
  const name = ref === 'HEAD' ? await store.refs.symbolicTarget('HEAD') : ref;
  return { name, id };
}

async function fullNames(store: Store, source: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of [BRANCHES + source, TAGS + source]) {
    if (isShared(name) && (await idOf(store, name)) !== undefined) found.push(name);
  }
  return found;
}

async function idOf(store: Store, name: string): Promise<ObjectId | undefined> {
  try {
    return await store.refs.resolve(name);
  } catch (error) {
    if (isImgstoreError(error)) return undefined;
    throw error;
  }
}

/** As git finds it (git-push(1), "<refspec>"): what the remote has of that name, or of the kind of the source. */
function destinationOf(
  { source, destination }: Refspec,
  { name }: { readonly name: string | undefined },
  there: RemoteRefs,
): string {
  if (destination === undefined) {
    if (name !== undefined) return name;
    throw new ImgstoreError('USAGE', `'${source}' is no branch or tag: write ${source}:refs/heads/NAME`, {
      ref: source,
    });
  }
  if (destination.startsWith('refs/')) return destination;
  const known = namesThere(there, destination);
  if (known.length === 1) return known[0]!;
  if (known.length > 1) throw ambiguousThere(destination, known);
  if (name?.startsWith(BRANCHES)) return BRANCHES + destination;
  if (name?.startsWith(TAGS)) return TAGS + destination;
  throw new ImgstoreError(
    'USAGE',
    `'${destination}' may be a branch or a tag: write ${source}:refs/heads/${destination} or ${source}:refs/tags/${destination}`,
    { ref: destination },
  );
}

function namesThere({ refs }: RemoteRefs, short: string): string[] {
  const names = [BRANCHES + short, TAGS + short];
  return refs.filter(({ name }) => names.includes(name)).map(({ name }) => name);
}

/** A ref that is to be removed. */
function nameThere(there: RemoteRefs, name: string): string {
  const [known, ...more] = name.startsWith('refs/')
    ? there.refs.filter((ref) => ref.name === name).map((ref) => ref.name)
    : namesThere(there, name);
  if (more.length > 0) throw ambiguousThere(name, [known!, ...more]);
  if (known !== undefined) return known;
  throw new ImgstoreError(
    'NOT_FOUND',
    `the remote has no branch or tag '${name}': see 'imgstore ls-remote'`,
    {
      ref: name,
    },
  );
}

function ambiguousThere(name: string, known: readonly string[]): ImgstoreError {
  return new ImgstoreError(
    'AMBIGUOUS',
    `'${name}' is ${known.join(' and ')} on the remote: write it in full`,
    {
      ref: name,
    },
  );
}
