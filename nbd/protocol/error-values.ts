/** "Error values": the only ones that a server may send, whatever the numbers of its own system. */
export const ErrorValue = {
  notPermitted: 1,
  io: 5,
  noMemory: 12,
  invalid: 22,
  noSpace: 28,
  overflow: 75,
  notSupported: 95,
  shutdown: 108,
} as const;

const TEXTS: Readonly<Record<number, string>> = {
  [ErrorValue.notPermitted]: 'operation not permitted',
  [ErrorValue.io]: 'input/output error',
  [ErrorValue.noMemory]: 'out of memory',
  [ErrorValue.invalid]: 'invalid argument',
  [ErrorValue.noSpace]: 'no space left on the device',
  [ErrorValue.overflow]: 'value too large',
  [ErrorValue.notSupported]: 'operation not supported',
  [ErrorValue.shutdown]: 'the server is shutting down',
};

/** An error value for people. */
export function errorValueText(error: number): string {
  return TEXTS[error] ?? `error ${error}`;
}
