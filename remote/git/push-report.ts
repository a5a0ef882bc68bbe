/** What `git push --porcelain` says of a ref. */
export interface PushedRef {
  readonly name: string;
  /** Why it was not moved; undefined when it was. */
  readonly fault: string | undefined;
  /** It was not where it was expected to be, or moved while the remote looked at it. */
  readonly moved: boolean;
}

/** `<flag>\t<from>:<to>\t<summary> (<reason>)`: git-push(1), "Output". */
const LINE_PATTERN = /^([ +*=!-])\t[^\t]*:([^\t:]+)\t(\[[^\]]*\]|\S+)(?: \((.*)\))?/;

/** How git says that a ref was elsewhere. */
const MOVED_PATTERN =
  /^(?:stale info|fetch first|non-fast-forward|needs force|remote ref updated)|failed to update ref|cannot lock ref|already exists|incorrect old value|reference already/i;

/** A remote that moves all refs or none says of each that all failed, and beside it, to people, which was the one. */
const LOCK_PATTERN = /cannot lock ref '([^']+)'/;

/**
 * Reads the output of `git push --porcelain`.
 * @param lines of its standard error
 */
export function parsePushReport(output: string, lines: readonly string[]): PushedRef[] {
  const locked = new Set(lines.flatMap((line) => LOCK_PATTERN.exec(line)?.[1] ?? []));
  return output.split('\n').flatMap((line) => {
    const [, flag, name, summary, reason] = LINE_PATTERN.exec(line) ?? [];
    if (name === undefined) return [];
    const fault = flag === '!' ? (reason ?? summary) : undefined;
    return [{ name, fault, moved: fault !== undefined && (MOVED_PATTERN.test(fault) || locked.has(name)) }];
  });
}
