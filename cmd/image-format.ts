import { InvalidArgumentError } from 'commander';
import type { ImageFormat } from '../qcow2/index.ts';

/** The argument of `--format`. */
export function formatArgument(text: string): ImageFormat {
  if (text === 'qcow2' || text === 'raw') return text;
  throw new InvalidArgumentError(`'${text}' is neither qcow2 nor raw`);
}
