import type { RefChange } from '../store/index.ts';
import { ExitCode } from './exit-code.ts';
import { shortId } from './format.ts';
import { printable } from './printable.ts';
import { formatTable } from './table.ts';

/** What became of refs, for JSON. */
export function changesJson(changes: readonly RefChange[]) {
  return changes.map(({ ref, from, to, kind, reason }) => ({
    ref,
    from,
    to,
    kind,
    ...(reason === undefined ? {} : { reason }),
  }));
}

/** A line for each ref that was moved. */
export function changesText(changes: readonly RefChange[]): string {
  const rows = changes
    .filter(({ kind }) => kind !== 'unchanged' && kind !== 'rejected')
    .map(({ ref, from, to, kind }) => [kind, refText(ref), moveText(from, to)]);
  return rows.length === 0 ? '' : formatTable([], rows);
}

/** Says on stderr, also when quiet, what was rejected and why; the exit code is 1 then. */
export function reportRejected(verb: string, changes: readonly RefChange[]): void {
  for (const { ref, kind, reason } of changes) {
    if (kind !== 'rejected') continue;
    process.stderr.write(printable(`imgstore: ${verb}: ${refText(ref)}: rejected: ${reason}\n`));
    process.exitCode = ExitCode.failed;
  }
}

/** A ref's name as people write it: branches by themselves, others with what tells them from branches. */
export function refText(ref: string): string {
  return ref.replace(/^refs\/(?:heads\/|(?=tags\/)|remotes\/)/, '');
}

function moveText(from: string | undefined, to: string | undefined): string {
  if (from === undefined) return to === undefined ? '' : shortId(to);
  return to === undefined ? `was ${shortId(from)}` : `${shortId(from)}..${shortId(to)}`;
}
