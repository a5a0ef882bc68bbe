import { basename } from 'node:path';
import { ImgstoreError } from '../../errors/index.ts';

export const BRANCHES = 'refs/heads/';
export const TAGS = 'refs/tags/';
export const REMOTES = 'refs/remotes/';
/** Where refs that lead to versions are. */
export const VERSION_REFS = [BRANCHES, TAGS, REMOTES] as const;

/** The longest name of one part: what file systems allow, less `.lock`. */
const MOST_PART_BYTES = 250;

/** What git-check-ref-format(1) forbids anywhere in a ref name. */
const FORBIDDEN_PATTERN = /[\x00-\x20\x7f~^:?*[\\]|\.\.|@\{/;

/** What is wrong with a full ref name by git's rules (git-check-ref-format(1)), or undefined. */
export function refNameFault(name: string): string | undefined {
  const match = FORBIDDEN_PATTERN.exec(name);
  if (match !== null)
    return `contains '${match[0] === ' ' ? 'a space' : JSON.stringify(match[0]).slice(1, -1)}'`;
  if (name === '@') return "is '@'";
  if (name.endsWith('.')) return "ends in '.'";
  for (const part of name.split('/')) {
    if (part === '') return "has an empty part between two '/'";
    if (part.startsWith('.')) return "has a part that begins with '.'";
    if (part.endsWith('.lock')) return "has a part that ends in '.lock'";
    if (Buffer.byteLength(part) > MOST_PART_BYTES) return `has a part longer than ${MOST_PART_BYTES} bytes`;
  }
  return undefined;
}

/** What a name would be taken for: an id of SHA-256 or of SHA-1. */
const ID_PATTERN = /^(?:[0-9a-f]{64}|[0-9a-f]{40})$/i;

/** The refs that a user names by their short names. */
export type RefKind = typeof BRANCHES | typeof TAGS;

/** `branch` or `tag`. */
export function kindWord(kind: RefKind): 'branch' | 'tag' {
  return kind === BRANCHES ? 'branch' : 'tag';
}

/** The full name of a branch or tag to be made. @throws ImgstoreError `BAD_NAME`. */
export function fullRefName(kind: RefKind, name: string): string {
  const fault = newRefFault(kind + name);
  if (fault !== undefined) throw fault;
  return existingRefName(kind, name);
}

/**
 * What speaks against making a branch or tag of a full name by which, when it is short, something else would be meant: `BAD_NAME`. git makes none of most of
 * them either (git-branch(1)), but lets all be pushed and fetched. Undefined for other refs.
 */
export function newRefFault(ref: string): ImgstoreError | undefined {
  const kind = ([BRANCHES, TAGS] as const).find((each) => ref.startsWith(each));
  if (kind === undefined) return undefined;
  const name = ref.slice(kind.length);
  if (name.startsWith('-')) return badName(kind, name, "begins with '-'");
  if (name === 'HEAD') return badName(kind, name, "is 'HEAD'");
  return ID_PATTERN.test(name) ? badName(kind, name, 'would be taken for an id') : undefined;
}

/** The full name of a branch or tag that may be there: git makes some that {@link fullRefName} refuses. @throws ImgstoreError `BAD_NAME`. */
export function existingRefName(kind: RefKind, name: string): string {
  const fault = refNameFault(kind + name);
  if (fault !== undefined) throw badName(kind, name, fault);
  return kind + name;
}

function badName(kind: RefKind, name: string, fault: string): ImgstoreError {
  const message = `'${name}' cannot name a ${kindWord(kind)}: it ${fault}: choose another name`;
  return new ImgstoreError('BAD_NAME', message, { name });
}

/**
 * The branch that an image belongs to when none is named: the file's name without its ending, with what git forbids in names
 * turned into `-`.
 */
export function branchFromFile(path: string): string {
  const stem = basename(path).replace(/(?<=.)\.[^.]*$/, '');
  const name = shorten(stem)
    .split(new RegExp(`(?:${FORBIDDEN_PATTERN.source})+`))
    .join('-')
    .replace(/^[.-]+|[.-]+$/g, '')
    .replace(/\.lock$/, '-lock');
  if (ID_PATTERN.test(name)) return `disk-${name}`;
  return ['', '@', 'HEAD'].includes(name) ? 'disk' : name;
}

/** As many whole characters as a part of a ref name can have. */
function shorten(text: string): string {
  let name = '';
  for (const char of text) {
    if (Buffer.byteLength(name + char) > MOST_PART_BYTES) break;
    name += char;
  }
  return name;
}

/** The short form that people use: without `refs/heads/`, `refs/tags/` or `refs/remotes/`. */
export function shortRefName(name: string): string {
  for (const kind of VERSION_REFS) if (name.startsWith(kind)) return name.slice(kind.length);
  return name;
}
