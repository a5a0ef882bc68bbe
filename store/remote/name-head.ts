import type { Monitor } from '../progress.ts';
import { moveHead } from '../refs/edit.ts';
import { BRANCHES } from '../refs/name.ts';
import type { Store } from '../store.ts';

/**
 * Makes `HEAD`, when it names no branch that is there, name the remote's, or the first of the store.
 * @param wanted full name of the branch that the remote's HEAD names
 */
export async function nameHead(
  store: Store,
  wanted: string | undefined,
  monitor: Monitor = {},
): Promise<void> {
  if ((await store.refs.follow('HEAD')).id !== undefined) return;
  const branches = (await store.refs.list(BRANCHES)).map(({ name }) => name);
  const meant = branches.find((name) => name === wanted) ?? branches[0];
  if (meant !== undefined) await moveHead(store, meant, monitor);
}
