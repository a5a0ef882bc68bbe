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

/** Reads the output of `git push --porcelain`. */
export function parsePushReport(output: string): PushedRef[] {
  return output.split('\n').flatMap((line) => {
    const [, flag, name, summary, reason] = LINE_PATTERN.exec(line) ?? [];
    if (name === undefined) return [];
    const fault = flag === '!' ? (reason ?? summary) : undefined;
    return [{ name, fault, moved: fault !== undefined && MOVED_PATTERN.test(fault) }];
  });
}
