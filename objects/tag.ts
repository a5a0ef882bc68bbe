import { ImgstoreError } from '../errors/index.ts';
import { encodeHeaders, type HeaderLine, parseHeaders, requireHeader } from './headers.ts';
import { isId, type ObjectId } from './id.ts';
import type { ObjectType } from './object.ts';
import { encodePerson, type Person, parsePerson } from './person.ts';

/** An annotated tag: a name with a message for another object. */
export interface Tag {
  readonly object: ObjectId;
  readonly type: ObjectType;
  readonly name: string;
  /** Missing in the oldest tags of git. */
  readonly tagger: Person | undefined;
  readonly message: string;
  /** Headers that imgstore does not write, in order. */
  readonly extra: readonly HeaderLine[];
}

const KNOWN = new Set(['object', 'type', 'tag', 'tagger']);
const TYPES: readonly string[] = ['blob', 'tree', 'commit', 'tag'];

/** A tag object's data. */
export function encodeTag(tag: Tag): Buffer {
  const tagger = tag.tagger === undefined ? [] : [{ key: 'tagger', value: encodePerson(tag.tagger) }];
  return encodeHeaders(
    [
      { key: 'object', value: tag.object },
      { key: 'type', value: tag.type },
      { key: 'tag', value: tag.name },
      ...tagger,
      ...tag.extra,
    ],
    tag.message,
  );
}

/**
 * Parses a tag object's data.
 * @throws ImgstoreError `DAMAGED` when a header is missing or not valid.
 */
export function parseTag(data: Uint8Array): Tag {
  const { lines, message } = parseHeaders(data);
  const object = requireHeader('tag', lines, 'object');
  const type = requireHeader('tag', lines, 'type');
  const tagger = lines.find((line) => line.key === 'tagger')?.value;
  if (!isId(object))
    throw new ImgstoreError('DAMAGED', `a tag names '${object}', which is no object id`, { id: object });
  if (!TYPES.includes(type)) throw new ImgstoreError('DAMAGED', `a tag says type '${type}'`, { type });
  return {
    object,
    type: type as ObjectType,
    name: requireHeader('tag', lines, 'tag'),
    tagger: tagger === undefined ? undefined : parsePerson(tagger),
    message,
    extra: lines.filter((line) => !KNOWN.has(line.key)),
  };
}
