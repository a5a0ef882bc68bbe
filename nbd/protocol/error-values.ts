/** "Error values": the only ones that a server may send, whatever the numbers of its own system. */
const TEXTS: Readonly<Record<number, string>> = {
  1: 'operation not permitted',
  5: 'input/output error',
  12: 'out of memory',
  22: 'invalid argument',
  28: 'no space left on the device',
  75: 'value too large',
  95: 'operation not supported',
  108: 'the server is shutting down',
};

/** An error value for people. */
export function errorValueText(error: number): string {
  return TEXTS[error] ?? `error ${error}`;
}
