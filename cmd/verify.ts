import { type Command, InvalidArgumentError } from 'commander';
import { type RemoteVerdict, verifyRemote } from '../store/index.ts';
import { Context } from './context.ts';
import { ExitCode } from './exit-code.ts';
import { shortId } from './format.ts';

interface VerifyOptions {
  /** 0 to 1. */
  readonly sample?: number;
}

/** Findings of one kind that are shown; JSON has more. */
const MOST_SHOWN = 20;

/** `imgstore verify` */
export function define(command: Command): void {
  command
    .argument('[remote]', 'name of an s3:// remote (default: origin, or the only remote)')
    .option('--sample <percent>', 'read only so many of the clusters, chosen by chance: 5%', percentArgument)
    .addHelpText(
      'after',
      `
Reads what is in the bucket, hashes it, and looks whether all is there that the remote's refs lead to. Nothing of it is kept. Without --sample that is as much as a
clone fetches. 'imgstore fsck' does the same for the store itself.

Example:
  imgstore verify origin
  imgstore verify --sample 5%

Exit codes: 0 nothing is damaged, 3 damage found.`,
    )
    .action(async (remote: string | undefined, { sample }: VerifyOptions, command: Command) => {
      const context = new Context(command);
      const verdict = await context.withStore((store) =>
        context.monitored('verify', (monitor) => verifyRemote(store, { remote, share: sample }, monitor)),
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
}: RemoteVerdict): string {
  const lines = [
    ...damaged.slice(0, MOST_SHOWN).map(({ name, reason }) => `damaged ${name}: ${reason}`),
    ...missing.slice(0, MOST_SHOWN).map((id) => `missing ${shortId(id)}`),
  ];
  const found = clean ? 'clean' : `${damaged.length} damaged packs, ${missingCount} missing objects`;
  lines.push(`${found}: ${checked} of ${objects} objects in ${packs} packs were read`);
  if (!clean)
    lines.push(
      "a store that has all of it makes the remote anew: 'imgstore remote add' with another prefix, and 'imgstore push --all --tags' to that; a push to this prefix sends nothing again that its list has",
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
