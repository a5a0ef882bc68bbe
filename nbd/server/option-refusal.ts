import { isImgstoreError } from '../../errors/index.ts';
import { OptionError } from '../protocol/constants.ts';
import { ProtocolFault } from '../protocol/fault.ts';

/** Why an option is refused: `OptionError` and a text for people. */
export class OptionRefusal extends Error {
  readonly type: number;

  constructor(type: number, message: string) {
    super(message);
    this.type = type;
  }
}

/** "The client MUST NOT send any additional data with the option". */
export function refuseData(data: Buffer): void {
  if (data.length > 0) throw new OptionRefusal(OptionError.invalid, 'the option has no data');
}

/** The data of an option can be wrong without doubt about where the next one begins. @throws OptionRefusal */
export function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof ProtocolFault) throw new OptionRefusal(OptionError.invalid, error.message);
    throw error;
  }
}

/** What a client is told when its option failed; undefined for what ends the connection. */
export function asRefusal(error: unknown): OptionRefusal | undefined {
  if (error instanceof OptionRefusal) return error;
  if (!isImgstoreError(error)) return undefined;
  const type = error.code === 'FORBIDDEN' ? OptionError.policy : OptionError.unknown;
  return new OptionRefusal(type, error.message);
}
