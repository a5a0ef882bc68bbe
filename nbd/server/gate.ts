import type { RequestFailure } from '../protocol/chunk.ts';
import { Command, CommandFlag, TransmissionFlag } from '../protocol/constants.ts';
import { ErrorValue } from '../protocol/error-values.ts';
import type { ParsedRequest } from '../protocol/request.ts';
import type { Terms } from './terms.ts';

/** What a command may ask for ("Request types"). */
interface Rule {
  readonly name: string;
  /** Flags besides FUA, which goes with every command where it was offered. */
  readonly flags: number;
  /** The transmission flag that must have been offered; 0 when none. */
  readonly offeredBy: number;
  readonly changes: boolean;
  /** Has a range; if not, offset and length are 0. */
  readonly ranged: boolean;
  /** Data go with the request or the reply. */
  readonly hasPayload: boolean;
  /** Error value for a range that ends past the disk ("Error values"). */
  readonly pastEnd: number;
}

const RULES: Readonly<Record<number, Rule>> = {
  [Command.read]: rule('read', { flags: CommandFlag.df, hasPayload: true }),
  [Command.write]: rule('write', { changes: true, hasPayload: true, pastEnd: ErrorValue.noSpace }),
  [Command.flush]: rule('flush', { offeredBy: TransmissionFlag.sendFlush, ranged: false }),
  [Command.trim]: rule('trim', { offeredBy: TransmissionFlag.sendTrim, changes: true }),
  [Command.cache]: rule('cache', { offeredBy: TransmissionFlag.sendCache }),
  [Command.writeZeroes]: rule('write of zeros', {
    flags: CommandFlag.noHole | CommandFlag.fastZero,
    offeredBy: TransmissionFlag.sendWriteZeroes,
    changes: true,
    pastEnd: ErrorValue.noSpace,
  }),
  [Command.blockStatus]: rule('block status', { flags: CommandFlag.reqOne }),
};

/**
 * The one gate before every request: why it is refused, or undefined. What has passed names a command that the export has, flags that go with it, and a
 * range that lies within the disk, at multiples of the minimum block size, with a payload that is not too long.
 */
export function refusalOf(request: ParsedRequest, terms: Terms): RequestFailure | undefined {
  const { command, flags, offset, length } = request;
  const found = RULES[command];
  if (found === undefined) return refusal(ErrorValue.invalid, `there is no command ${command}`);
  if (found.changes && (terms.flags & TransmissionFlag.readOnly) !== 0)
    return refusal(ErrorValue.notPermitted, 'the export is read-only');
  if ((terms.flags & found.offeredBy) !== found.offeredBy)
    return refusal(ErrorValue.invalid, `the export has no ${found.name}`);
  if ((flags & ~allowedFlags(found, terms)) !== 0)
    return refusal(ErrorValue.invalid, `a ${found.name} cannot have the flags 0x${flags.toString(16)}`);
  if (!found.ranged) {
    if (offset === 0 && length === 0) return undefined;
    return refusal(ErrorValue.invalid, `a ${found.name} has no range`);
  }
  if (command === Command.blockStatus) {
    if (!terms.allocation) return refusal(ErrorValue.invalid, 'no metadata context was selected');
    if (length === 0) return refusal(ErrorValue.invalid, 'a block status of no bytes was asked for');
  }
  return refusedRange(request, terms, found);
}

function refusedRange(
  { offset, length }: ParsedRequest,
  { export: disk, blockSizes, structured }: Terms,
  { name, hasPayload, changes, pastEnd }: Rule,
): RequestFailure | undefined {
  const { minimum, maximum } = blockSizes;
  if (hasPayload && length > maximum) {
    const error = structured && !changes ? ErrorValue.overflow : ErrorValue.invalid;
    return refusal(error, `a ${name} of ${length} bytes is too long: ${maximum} are allowed`);
  }
  if (offset > disk.size - length)
    return refusal(
      pastEnd,
      `a ${name} of ${length} bytes at ${offset} ends past the ${disk.size} of the disk`,
    );
  if (offset % minimum !== 0 || length % minimum !== 0)
    return refusal(
      ErrorValue.invalid,
      `a ${name} of ${length} bytes at ${offset} is not in blocks of ${minimum}`,
    );
  return undefined;
}

function allowedFlags({ flags, changes, hasPayload }: Rule, terms: Terms): number {
  const fua = (terms.flags & TransmissionFlag.sendFua) === 0 ? 0 : CommandFlag.fua;
  const payload = terms.extended && changes && hasPayload ? CommandFlag.payloadLength : 0;
  return (terms.structured ? flags : flags & ~CommandFlag.df) | fua | payload;
}

function rule(name: string, what: Partial<Rule>): Rule {
  const none = { flags: 0, offeredBy: 0, changes: false, ranged: true, hasPayload: false };
  return { name, ...none, pastEnd: ErrorValue.invalid, ...what };
}

function refusal(error: number, message: string): RequestFailure {
  return { error, message };
}
