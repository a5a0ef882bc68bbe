import { ImgstoreError } from '../errors/index.ts';
import { encodeHeaders, type HeaderLine, parseHeaders, requireHeader } from './headers.ts';
import { isId, type ObjectId } from './id.ts';
import { encodePerson, type Person, parsePerson } from './person.ts';

/** A version: a tree, the versions before it, who made it and why. */
export interface Commit {
  readonly tree: ObjectId;
  readonly parents: readonly ObjectId[];
  readonly author: Person;
  readonly committer: Person;
  readonly message: string;
  /** Headers that imgstore does not write (`gpgsig`, `encoding`, …), in order. */
  readonly extra: readonly HeaderLine[];
}

const KNOWN = new Set(['tree', 'parent', 'author', 'committer']);

/** A commit object's data. */
export function encodeCommit(commit: Commit): Buffer {
  return encodeHeaders(
    [
      { key: 'tree', value: commit.tree },
      ...commit.parents.map((parent) => ({ key: 'parent', value: parent })),
      { key: 'author', value: encodePerson(commit.author) },
      { key: 'committer', value: encodePerson(commit.committer) },
      ...commit.extra,
    ],
    commit.message,
  );
}

/**
 * Parses a commit object's data.
 * @throws ImgstoreError `DAMAGED` when a header is missing or not valid.
 */
export function parseCommit(data: Uint8Array): Commit {
  const { lines, message } = parseHeaders(data);
  const tree = requireHeader('commit', lines, 'tree');
  const parents = lines.filter((line) => line.key === 'parent').map((line) => line.value);
  const wrong = [tree, ...parents].find((id) => !isId(id));
  if (wrong !== undefined)
    throw new ImgstoreError('DAMAGED', `a commit names '${wrong}', which is no object id`, { id: wrong });
  return {
    tree,
    parents,
    author: parsePerson(requireHeader('commit', lines, 'author')),
    committer: parsePerson(requireHeader('commit', lines, 'committer')),
    message,
    extra: lines.filter((line) => !KNOWN.has(line.key)),
  };
}

/** The first line of a message. */
export function subject(message: string): string {
  return message.trimStart().split('\n', 1)[0] ?? '';
}
