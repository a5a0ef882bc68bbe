import type { Store } from '../store.ts';
import type { RefChange } from './ref-change.ts';
import { isPattern, type Refspec, sourcesOf } from './refspec.ts';
import type { RemoteRefs } from './transport.ts';

/** The refs here that some refspecs have made, and whose sources the remote has no more. */
export async function findGone(
  store: Store,
  specs: readonly Refspec[],
  there: RemoteRefs,
): Promise<RefChange[]> {
  const names = new Set(there.refs.map(({ name }) => name));
  const patterns = specs.filter((spec) => spec.negative || isPattern(spec));
  const gone: RefChange[] = [];
  for (const { name, id } of await store.refs.list()) {
    const sources = sourcesOf(patterns, name);
    if (sources.length === 0 || sources.some((source) => names.has(source))) continue;
    // A symbolic one, as `refs/remotes/origin/HEAD`, is no copy of a ref.
    if ((await store.refs.follow(name)).symbolic.length > 0) continue;
    gone.push({ ref: name, from: id, to: undefined, kind: 'deleted' });
  }
  return gone;
}
