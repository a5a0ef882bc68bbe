import { type Command, InvalidArgumentError } from 'commander';
import { counted, ImgstoreError } from '../errors/index.ts';
import { type RemoteVerdict, verifyRemote } from '../store/index.ts';
import { Context } from './context.ts';
import { ExitCode } from './exit-code.ts';
import { shortId } from './format.ts';

interface VerifyOptions {
  /** 0 to 1. */
  readonly sample?: number;
  readonly repair?: boolean;
}

/** Findings of one kind that are shown; JSON has more. */
const MOST_SHOWN = 20;

/** `imgstore verify` */
export function define(command: Command): void {
  command
    .argument('[remote]', 'name of an s3:// remote (default: origin, or the only remote)')
    .option('--sample <percent>', 'read only so many of the clusters, chosen by chance: 5%', percentArgument)
    .option('--repair', 'send again, from this store, what is damaged or missing there')
    .addHelpText(
      'after',
      `
Reads what is in the bucket, hashes it, and looks whether all is there that the remote's refs lead to. Nothing of it is kept. Without --sample that is as much as a
clone fetches. 'imgstore fsck' does the same for the store itself.

Example:
  imgstore verify origin
  imgstore verify --sample 5%
  imgstore verify origin --repair

Exit codes: 0 nothing is damaged (any more), 3 damage found (or left).`,
    )
    .action(async (remote: string | undefined, { sample, repair }: VerifyOptions, command: Command) => {
      const context = new Context(command);
      if (repair && sample !== undefined)
        throw new ImgstoreError('USAGE', 'verify --repair reads all: leave --sample away');
      const verdict = await context.withStore((store) =>
        context.monitored('verify', (monitor) =>
          verifyRemote(store, { remote, share: sample, repair }, monitor),
        ),
      );
      context.result(verdict, () => verdictText(verdict));
      if (!verdict.clean) process.exitCode = ExitCode.damage;
    });
}

function verdictText({
  clean,
  damaged,
  missing,
  missingCount,
  packs,
  objects,
  checked,
  repaired,
}: RemoteVerdict): string {
  const lines = [
    ...damaged.slice(0, MOST_SHOWN).map(({ name, reason }) => `damaged ${name}: ${reason}`),
    ...missing.slice(0, MOST_SHOWN).map((id) => `missing ${shortId(id)}`),
  ];
  const isMended = clean && repaired !== undefined;
  const found = isMended
    ? `mended: ${counted(repaired, 'object was', 'objects were')} sent again`
    : clean
      ? 'clean'
      : `${counted(damaged.length, 'damaged pack')}, ${counted(missingCount, 'missing object')}`;
  lines.push(`${found}: ${checked} of ${counted(objects, 'object')} in ${counted(packs, 'pack')} were read`);
  if (!clean)
    lines.push(
      repaired === undefined
        ? "what is lost comes back from a store that has it: 'imgstore verify --repair' there; a push sends nothing again that the remote's list has"
        : `${counted(repaired, 'object was', 'objects were')} sent again; the others are not here either: run 'imgstore verify --repair' in a store that has them`,
    );
  return `${lines.join('\n')}\n`;
}

function percentArgument(text: string): number {
  const [, digits] = /^(\d{1,3}(?:\.\d+)?)%?$/.exec(text) ?? [];
  const percent = Number(digits);
  if (digits === undefined || percent > 100)
    throw new InvalidArgumentError(`'${text}' is no percentage: write one from 0% to 100%`);
  return percent / 100;
}
