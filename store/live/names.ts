/** What everything begins with that imgstore makes in a machine for the time of a commit: nodes, jobs and exports. */
const PREFIX = 'imgstore-live-';

/** Names of folders for the time of a commit begin with it; behind it they say who made them. */
export const FOLDER_PREFIX = '.imgstore-live';

/** The node, the job and the export of a disk, by its number. Names of nodes have 31 characters at most. */
export function liveName(disk: number): string {
  return `${PREFIX}${disk}`;
}

/** The node of the file below {@link liveName}. */
export function scratchFileName(disk: number): string {
  return `${liveName(disk)}-file`;
}

/** Whether a name is a {@link liveName}, of this commit or one that was killed. */
export function isLiveName(name: string): boolean {
  return name.startsWith(PREFIX) && /^\d+$/.test(name.slice(PREFIX.length));
}

/** Whether a name is a {@link scratchFileName}. */
export function isScratchFileName(name: string): boolean {
  return name.endsWith('-file') && isLiveName(name.slice(0, -'-file'.length));
}
