import { ImgstoreError } from '../../errors/index.ts';
import type { ObjectId } from '../../objects/index.ts';
import type { Store } from '../store.ts';
import { listWork } from '../work/announcement.ts';

/** From where objects are reachable, but for what the logs of refs say. */
export interface Roots {
  /** What processes read or build on just now; it may be gone. */
  readonly announced: readonly ObjectId[];
  readonly refs: readonly ObjectId[];
}

/**
 * What refs, HEAD and announcements lead to now. Announcements are looked at first: who takes one back has moved a ref before.
 * @throws ImgstoreError `DAMAGED` when a ref cannot be read: what it leads to would be lost
 */
export async function readRoots(store: Store): Promise<Roots> {
  const announced = listWork(store.folder).flatMap(({ roots }) => roots);
  const { refs, unreadable } = await store.refs.survey();
  const head = await store.refs.follow('HEAD');
  const fault = unreadable[0]?.fault ?? head.fault;
  if (fault !== undefined) throw refuse(fault);
  return { announced, refs: [...refs.map(({ id }) => id), ...(head.id === undefined ? [] : [head.id])] };
}

/** What cannot be read may lead to anything. */
export function refuse(fault: ImgstoreError): ImgstoreError {
  return new ImgstoreError(
    'DAMAGED',
    `${fault.message}: the store is damaged, and nothing was removed: see what 'imgstore fsck' says, and mend that first`,
    fault.data,
    fault,
  );
}
