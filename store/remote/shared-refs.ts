import { refNameFault } from '../refs/name.ts';
import type { RemoteRefs } from './transport.ts';

/** Refs that imgstore keeps for itself: sessions of a store are no business of another. */
const OWN_REFS = 'refs/imgstore/';

/** Without the refs of imgstore itself, and without names that git forbids: a server can send anything. */
export function keepShared({ refs, peeled, head }: RemoteRefs): RemoteRefs {
  return {
    refs: refs.filter(({ name }) => isShared(name)).sort((a, b) => (a.name < b.name ? -1 : 1)),
    peeled,
    head: head !== undefined && isShared(head) ? head : undefined,
  };
}

/** Whether a ref may go from store to store. */
export function isShared(name: string): boolean {
  return name.startsWith('refs/') && !name.startsWith(OWN_REFS) && refNameFault(name) === undefined;
}
