import { createHash } from 'node:crypto';
import { fullRefName, shortRefName, TAGS } from '../refs/name.ts';

/** What a tag is named after. */
export interface NamedSnapshot {
  /** Unique in an image, but for damaged ones. */
  readonly id: string;
  readonly name: string;
}

/** The longest encoded name that is written out: that, an id as long and what joins them are one part of a ref name, which can have 250 bytes. */
const MOST_BYTES = 115;
/** What is kept of the beginning of a longer one. */
const KEPT_BYTES = 40;

/** The empty name. */
const EMPTY = '%';

/** What git forbids anywhere, `/`, `%` itself, and what is not seen. */
const ENCODED_PATTERN = /[~^:?*[\\/%\p{Cc}\p{Cf}\p{Z}]/u;

/** An id of SHA-256 or of SHA-1. */
const ID_PATTERN = /^(?:[0-9a-f]{64}|[0-9a-f]{40})$/i;

/**
 * The names of the tags of an image's snapshots, one for each and no two the same.
 *
 * A name that can be one part of a ref name stays as it is. In others, what cannot be is written as its bytes in UTF-8, as in URIs (`%20`); so are `%` itself, and `/`, as `a` and `a/b` could
 * not both be tags. What such encoding never makes marks the rest: `%` alone is the empty name, `%sha256-…` stands for the end of a long one, `%id…` tells snapshots of one name apart.
 * @param prefix what all tags begin with
 * @throws ImgstoreError `BAD_NAME` for the prefix
 */
export function tagNames(snapshots: readonly NamedSnapshot[], prefix: string): string[] {
  const names = snapshots.map(({ name }) => encodePart(name));
  const uses = new Map<string, number>();
  const count = (name: string) => {
    const before = uses.get(name) ?? 0;
    uses.set(name, before + 1);
    return before;
  };
  for (const name of names) count(name);
  return snapshots.map(({ id }, i) => {
    const name = names[i]!;
    if (uses.get(name) === 1) return checked(prefix + name);
    const told = `${name}%id${encodePart(id)}`;
    const copies = count(told);
    // Only a damaged image has an id twice.
    return checked(prefix + (copies === 0 ? told : `${told}%copy${copies}`));
  });
}

function checked(name: string): string {
  return shortRefName(fullRefName(TAGS, name));
}

/** A name as one part of a ref name. Different names never become the same. */
function encodePart(name: string): string {
  if (name === '') return EMPTY;
  const pieces = Array.from(name).map((char, at, all) =>
    isEncoded(char, at, all) ? percentEncoded(char) : char,
  );
  if (['HEAD', '@'].includes(name) || ID_PATTERN.test(name)) pieces[0] = percentEncoded(name[0]!);
  if (name.endsWith('.lock')) pieces[pieces.length - '.lock'.length] = percentEncoded('.');
  const whole = pieces.join('');
  if (Buffer.byteLength(whole) <= MOST_BYTES) return whole;
  let kept = '';
  for (const piece of pieces) {
    if (Buffer.byteLength(kept + piece) > KEPT_BYTES) break;
    kept += piece;
  }
  return `${kept}%sha256-${createHash('sha256').update(name).digest('hex')}`;
}

function isEncoded(char: string, at: number, all: readonly string[]): boolean {
  switch (char) {
    case '.':
      return at === 0 || at === all.length - 1 || all[at - 1] === '.';
    case '-':
      return at === 0;
    case '@':
      return all[at + 1] === '{';
    default:
      return ENCODED_PATTERN.test(char);
  }
}

function percentEncoded(char: string): string {
  return [...Buffer.from(char)]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('');
}
