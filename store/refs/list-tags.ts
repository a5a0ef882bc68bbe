import { isImgstoreError } from '../../errors/index.ts';
import { type ObjectId, type ObjectType, parseTag, type Tag } from '../../objects/index.ts';
import type { Store } from '../store.ts';
import { describeDamage } from './damage.ts';
import { shortRefName, TAGS } from './name.ts';
import type { Ref } from './refs.ts';

/** A tag and the version that it leads to. */
export interface ListedTag {
  readonly name: string;
  /** Of a damaged tag the object that it names, where that much can be read. */
  readonly target: ObjectId | undefined;
  /** What the target is: git can tag any object. Undefined for a damaged tag. */
  readonly type: ObjectType | undefined;
  /** The tag's own object, for an annotated one. */
  readonly annotation: Tag | undefined;
  /** What is wrong with the tag, and what to do. */
  readonly damaged: string | undefined;
}

/** All tags by name; those that lead nowhere too. @throws ImgstoreError `DAMAGED` for a line of `packed-refs`, `IO`. */
export async function listTags(store: Store): Promise<ListedTag[]> {
  const { refs, unreadable } = await store.refs.survey(TAGS);
  const tags: ListedTag[] = [];
  for (const ref of refs) tags.push(await readTag(store, ref));
  for (const { name, fault } of unreadable)
    tags.push(damagedTag(name, undefined, await describeDamage(store, name, fault)));
  return tags.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function readTag(store: Store, { name, id }: Ref): Promise<ListedTag> {
  try {
    const annotated = store.objects.header(id).type === 'tag';
    const target = store.objects.peel(id);
    return {
      name: shortRefName(name),
      target,
      type: store.objects.header(target).type,
      annotation: annotated ? parseTag(store.objects.readAs('tag', id)) : undefined,
      damaged: undefined,
    };
  } catch (error) {
    if (!isImgstoreError(error)) throw error;
    return damagedTag(name, id, await describeDamage(store, name, error));
  }
}

function damagedTag(name: string, target: ObjectId | undefined, damaged: string): ListedTag {
  return { name: shortRefName(name), target, type: undefined, annotation: undefined, damaged };
}
