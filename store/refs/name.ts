import { basename } from 'node:path';
import { ImgstoreError } from '../../errors/index.ts';

export const BRANCHES = 'refs/heads/';
export const TAGS = 'refs/tags/';
export const REMOTES = 'refs/remotes/';

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

/**
 * The full name of a branch or tag.
 * @param kind {@link BRANCHES} or {@link TAGS}
 * @throws ImgstoreError `BAD_NAME`
 */
export function fullRefName(kind: typeof BRANCHES | typeof TAGS, name: string): string {
  const what = kind === BRANCHES ? 'branch' : 'tag';
  const fault = name.startsWith('-')
    ? "begins with '-'"
    : name === 'HEAD'
      ? "is 'HEAD'"
      : refNameFault(kind + name);
  if (fault !== undefined)
    throw new ImgstoreError('BAD_NAME', `'${name}' cannot name a ${what}: it ${fault}`, { name });
  return kind + name;
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
  for (const kind of [BRANCHES, TAGS, REMOTES]) if (name.startsWith(kind)) return name.slice(kind.length);
  return name;
}

/** True for refs that lead to versions: branches, tags and those of remotes. */
export function isVersionRef(name: string): boolean {
  return [BRANCHES, TAGS, REMOTES].some((kind) => name.startsWith(kind));
}
