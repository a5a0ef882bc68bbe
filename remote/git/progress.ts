/** How far git is with a transfer, as it says on its standard error. */
export interface GitProgress {
  readonly objects: number;
  readonly allObjects: number;
  /** Bytes that went over the network; to three or four digits, which is all that git says. */
  readonly bytes: number;
}

const TRANSFER_PATTERN =
  /^(?:Receiving|Writing|Unpacking) objects: +\d+% \((\d+)\/(\d+)\)(?:, (\d+(?:\.\d+)?) (bytes|byte|KiB|MiB|GiB))?/;

/** Lines that tell how far git or the remote's git is with anything. */
const OTHER_PATTERN =
  /^(?:remote: )*(?:Enumerating|Counting|Compressing|Resolving|Delta compression|Total|Checking|Unpacking|Finding|Filtering|Updating|Receiving|Writing|Expanding)\b[^:]*(?::| \d| using)/;

const UNITS: Readonly<Record<string, number>> = {
  byte: 1,
  bytes: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
};

/** What a line of git's standard error says of a transfer; undefined for any other line. */
export function parseProgress(line: string): GitProgress | undefined {
  const [, objects, allObjects, amount, unit] = TRANSFER_PATTERN.exec(line) ?? [];
  if (objects === undefined) return undefined;
  const bytes = amount === undefined ? 0 : Math.round(Number(amount) * UNITS[unit!]!);
  return { objects: Number(objects), allObjects: Number(allObjects), bytes };
}

/** Whether a line is about progress of any kind, and so no message. */
export function isProgress(line: string): boolean {
  return TRANSFER_PATTERN.test(line) || OTHER_PATTERN.test(line);
}
