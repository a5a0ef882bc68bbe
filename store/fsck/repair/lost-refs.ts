import { isId, type ObjectId, type ObjectType, parseCommit, parseTag } from '../../../objects/index.ts';
import { BRANCHES, refNameFault, TAGS } from '../../refs/name.ts';
import type { Examination } from '../examine.ts';
import { attempt } from './salvage-reader.ts';

/** Where versions are kept whose refs are lost with their names. */
const LOST_FOUND = 'refs/lost-found/';

const ID_DIGITS = 64;
/** An id with more digits that are wrong is not guessed at; two ids that differ in so few are never met by chance. */
const MOST_WRONG_DIGITS = 4;

/** A ref as a damaged line meant it. */
export interface MeantRef {
  readonly name: string;
  readonly id: ObjectId;
  readonly what: string;
}

/**
 * What damaged lines of `packed-refs` meant, so that `gc` does not take for garbage what only they led to: the ref itself, where its name is whole and an object has
 * almost the id; a ref below `refs/lost-found/` for other versions that a line names; and for all that nothing leads to, when a line says too little.
 */
export function meantRefs(lines: readonly string[], examination: Examination): MeantRef[] {
  const known = [...idsOfType(examination, 'commit'), ...idsOfType(examination, 'tag')];
  const meant = lines.map((line) => meantBy(line, known, examination));
  const isUnknown = meant.some((refs) => refs.length === 0);
  return [...meant.flat(), ...(isUnknown ? unreached(examination) : [])];
}

function meantBy(line: string, known: readonly ObjectId[], { walk }: Examination): MeantRef[] {
  const name = line.slice(ID_DIGITS + 1);
  const near = known.find((id) => wrongDigits(id, line) <= MOST_WRONG_DIGITS);
  const type = near === undefined ? undefined : walk.finder.find(near)?.object?.type;
  const isName = name.startsWith('refs/') && refNameFault(name) === undefined;
  if (near !== undefined && isName && (type === 'commit' || !name.startsWith(BRANCHES)))
    return [{ name, id: near, what: 'which has almost the id of its line' }];
  const named = [near ?? '', ...(line.match(/[0-9a-f]{64}/g) ?? [])];
  return [...new Set(named)].filter((id) => isId(id) && known.includes(id)).map(foundRef);
}

/** How many digits of an id are others at the beginning of a line. */
function wrongDigits(id: ObjectId, line: string): number {
  let wrong = 0;
  for (let i = 0; i < ID_DIGITS && wrong <= MOST_WRONG_DIGITS; i++) if (id[i] !== line[i]) wrong++;
  return wrong;
}

/** The last of the versions that nothing leads to, and annotated tags, by their names. */
function unreached(examination: Examination): MeantRef[] {
  const { walk } = examination;
  const isLost = (id: ObjectId) => !walk.isReached(id);
  const read = <T>(id: ObjectId, parse: (data: Uint8Array) => T) =>
    attempt(() => parse(walk.finder.read(id)!.data));
  const commits = [...idsOfType(examination, 'commit')].filter(isLost);
  const inner = new Set(commits.flatMap((id) => read(id, parseCommit)?.parents ?? []));
  const tags = [...idsOfType(examination, 'tag')].filter(isLost).map((id): MeantRef => {
    const name = TAGS + (read(id, parseTag)?.name ?? '');
    return refNameFault(name) === undefined
      ? { name, id, what: 'the annotated tag of its name' }
      : foundRef(id);
  });
  return [...tags, ...commits.filter((id) => !inner.has(id)).map(foundRef)];
}

/** A ref for an object whose own ref is lost with its name. */
export function foundRef(id: ObjectId): MeantRef {
  return {
    name: LOST_FOUND + id,
    id,
    what: 'to which a lost ref may have led: name it with imgstore branch',
  };
}

function idsOfType({ inventory }: Examination, type: ObjectType): ReadonlySet<ObjectId> {
  return new Set(inventory.idsOfType(type));
}
