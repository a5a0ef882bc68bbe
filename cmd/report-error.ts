import { CommanderError } from 'commander';
import { ImgstoreError } from '../errors/index.ts';
import { printable } from './printable.ts';

/**
 * Says what went wrong: one line on stderr, and with `json` a document on stdout too. A failure that is not an {@link ImgstoreError} is a defect
 * of imgstore: its origin is shown when asked for.
 */
export function reportError(
  error: unknown,
  options: { readonly json: boolean; readonly verbose: boolean },
): void {
  const { code, message } = describe(error);
  process.stderr.write(`imgstore: ${printable(message)}\n`);
  if (options.verbose && error instanceof Error && !(error instanceof CommanderError))
    process.stderr.write(`${printable(String(error.stack))}\n`);
  if (options.json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`);
}

function describe(error: unknown): { readonly code: string; readonly message: string } {
  if (error instanceof ImgstoreError) return { code: error.code, message: oneLine(error.message) };
  if (error instanceof CommanderError) {
    return { code: 'USAGE', message: `${asOurs(oneLine(error.message))}: see 'imgstore --help'` };
  }
  const reason = error instanceof Error ? error.message : String(error);
  return {
    code: 'INTERNAL',
    message: `unexpected error: ${oneLine(reason)}: run again with --verbose to see where`,
  };
}

/** Commander writes sentences: `error: option '…' argument 'x' is invalid. 'x' is not a size`. */
function asOurs(message: string): string {
  return message
    .replace(/^error: /, '')
    .replace(/( is invalid(?: for argument '[^']*')?|^too many arguments for '[^']*')\. /, '$1: ')
    .replace(/\.$/, '');
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, ' ').trim();
}
