import { type ObjectId, parseTag, type Tag } from '../../objects/index.ts';
import type { Store } from '../store.ts';
import { shortRefName, TAGS } from './name.ts';

/** A tag and the version that it leads to. */
export interface ListedTag {
  readonly name: string;
  readonly target: ObjectId;
  /** The tag's own object, for an annotated one. */
  readonly annotation: Tag | undefined;
}

/** All tags by name. */
export async function listTags(store: Store): Promise<ListedTag[]> {
  return (await store.refs.list(TAGS)).map(({ name, id }) => {
    const annotated = store.objects.header(id).type === 'tag';
    return {
      name: shortRefName(name),
      target: store.objects.peel(id),
      annotation: annotated ? parseTag(store.objects.readAs('tag', id)) : undefined,
    };
  });
}
