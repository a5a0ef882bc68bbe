/** A fault of one attempt that may be gone at the next: a broken connection, silence, an answer of 503. */
export class PassingFault extends Error {
  override readonly name = 'PassingFault';
  /** Milliseconds that the server asks to wait, by Retry-After. */
  readonly retryAfterMs: number | undefined;

  /** @param message the end of a one-line error */
  constructor(message: string, retryAfterMs?: number, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.retryAfterMs = retryAfterMs;
  }
}

/** An answer that is none of S3, which what lies between may have spoilt; when it is so again and again, the server is to blame. */
export class BrokenAnswer extends PassingFault {}

/** A fault of one attempt that would be the same at the next: no such host, a certificate that nobody vouches for. */
export class LastingFault extends Error {
  override readonly name = 'LastingFault';
}

const PASSING: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there: is the server running, and the endpoint right?',
  ECONNRESET: 'the server broke the connection off',
  EPIPE: 'the server broke the connection off',
  ETIMEDOUT: 'the host does not answer',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  EAI_AGAIN: 'the name of the host cannot be looked up at the moment',
};

const LASTING: Readonly<Record<string, string>> = {
  ENOTFOUND: 'no such host: check the endpoint and the region',
  EPROTO: 'the server does not speak TLS there: check the endpoint, https:// or http://',
  ERR_SSL_WRONG_VERSION_NUMBER:
    'the server does not speak TLS there: check the endpoint, https:// or http://',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host: check the endpoint, or use path style',
  CERT_HAS_EXPIRED: 'its certificate has expired',
};

/** Codes of OpenSSL for certificates that lead to no authority that this machine knows. */
const UNKNOWN_AUTHORITY = /SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/;

/** Sorts what the connection or the parser of HTTP threw. */
export function connectionFault(error: unknown): PassingFault | LastingFault {
  if (error instanceof PassingFault || error instanceof LastingFault) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== undefined && UNKNOWN_AUTHORITY.test(code))
    return new LastingFault(
      'nobody that this machine trusts vouches for its certificate: name the file of its authority in NODE_EXTRA_CA_CERTS',
    );
  const lasting = code === undefined ? undefined : LASTING[code];
  if (lasting !== undefined) return new LastingFault(lasting);
  if (code?.startsWith('HPE_')) return new BrokenAnswer('the answer is no HTTP', undefined, error);
  return new PassingFault(PASSING[code ?? ''] ?? oneLine(message), undefined, error);
}

/** Text of others for a message of one line: without line breaks and control characters, and bounded. */
export function oneLine(text: string, most = 200): string {
  const line = text.replace(/[\s\x00-\x1f\x7f]+/g, ' ').trim();
  return line.length > most ? `${line.slice(0, most)}…` : line;
}
