import { type Commit, isId, type ObjectId } from '../../objects/index.ts';

/** Header of a commit that was written again with other parents: an id that it had before. */
const WAS = 'imgstore-was';
/** Header of the first commit that was kept behind forgotten ones: the id of one of them. */
const FORGOT = 'imgstore-forgot';

/** Made over the content of a commit, which is another now. */
const SIGNATURES: ReadonlySet<string> = new Set(['gpgsig', 'gpgsig-sha256']);

/** What a commit says of versions that are no more. */
export interface Succession {
  /** Ids that the commit itself had before. */
  readonly was: readonly ObjectId[];
  /** Versions that were between it and its parents. */
  readonly forgot: readonly ObjectId[];
}

export function readSuccession({ extra }: Commit): Succession {
  const ids = (key: string) =>
    extra.filter((line) => line.key === key && isId(line.value)).map(({ value }) => value);
  return { was: ids(WAS), forgot: ids(FORGOT) };
}

/**
 * A commit's data with other parents, and with the ids that it stands for now. All else stays byte for byte, whatever its encoding, but for signatures.
 * @param data of the commit as it was
 */
export function withParents(
  data: Uint8Array,
  parents: readonly ObjectId[],
  { was, forgot }: Succession,
): Buffer {
  // One character a byte, so that nothing is lost on the way.
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1');
  const gap = text.indexOf('\n\n');
  const [head, message] =
    gap < 0 ? [text.replace(/\n$/, ''), '\n'] : [text.slice(0, gap), text.slice(gap + 1)];
  const lines = unfold(head).filter((line) => !line.startsWith('parent ') && !SIGNATURES.has(keyOf(line)));
  const at = lines.findIndex((line) => keyOf(line) === 'tree') + 1;
  lines.splice(at, 0, ...parents.map((id) => `parent ${id}`));
  lines.push(...forgot.map((id) => `${FORGOT} ${id}`), ...was.map((id) => `${WAS} ${id}`));
  return Buffer.from(`${lines.join('\n')}\n${message}`, 'latin1');
}

function keyOf(line: string): string {
  return line.slice(0, line.indexOf(' '));
}

/** Header lines, with those that go on with a space at the end of the one before. */
function unfold(head: string): string[] {
  const lines: string[] = [];
  for (const line of head.split('\n')) {
    if (line.startsWith(' ') && lines.length > 0) lines[lines.length - 1] += `\n${line}`;
    else lines.push(line);
  }
  return lines;
}
