import { type Context, damagedJson } from './context.ts';
import { shortId } from './format.ts';
import { formatTable } from './table.ts';

/** A branch or tag in a list. */
export interface RefLine {
  readonly name: string;
  /** The version; undefined when it cannot be read. */
  readonly id: string | undefined;
  /** What stands behind it. */
  readonly text: string;
  readonly damaged: string | undefined;
  /** More keys of its JSON. */
  readonly facts?: object;
}

/** Prints branches or tags, and what is damaged among them. */
export function printRefs(context: Context, refs: readonly RefLine[]): void {
  const json = refs.map(({ name, id, facts, damaged }) => ({
    name,
    commit: id,
    ...facts,
    ...damagedJson(damaged),
  }));
  const rows = refs.map(({ name, id, text, damaged }) => [
    name,
    id === undefined ? '-' : shortId(id),
    damaged === undefined ? text : '(damaged)',
  ]);
  context.result(json, () => (rows.length === 0 ? '' : formatTable([], rows)));
  context.damaged(refs.map(({ damaged }) => damaged));
}
