import { type ErrorCode, ImgstoreError } from '../../../errors/index.ts';
import { oneLine } from './fault.ts';
import type { HttpAnswer } from './http.ts';
import { parseAnswer, textOf, type XmlElement } from './xml.ts';

/** An answer that says no. */
export interface ErrorAnswer {
  readonly status: number;
  /** S3's code, `NoSuchKey`; what HTTP calls the status where the server names none. */
  readonly code: string;
  /** For people; empty if nothing. */
  readonly message: string;
  /** Region of the bucket, where the server tells it. */
  readonly region: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** What HTTP calls a status, for answers to HEAD, which have no body, and for proxies. */
const STATUS_NAMES: Readonly<Record<number, string>> = {
  301: 'PermanentRedirect',
  307: 'TemporaryRedirect',
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  411: 'LengthRequired',
  412: 'PreconditionFailed',
  413: 'TooLarge',
  416: 'InvalidRange',
  429: 'TooManyRequests',
  500: 'InternalError',
  501: 'NotImplemented',
  502: 'BadGateway',
  503: 'ServiceUnavailable',
  504: 'GatewayTimeout',
};

/** Reads what the body of an answer, which may be cut off, says about the failure. */
export function parseErrorAnswer(answer: HttpAnswer, body: Uint8Array, now = Date.now()): ErrorAnswer {
  const element = errorElement(body);
  const text = (name: string) => {
    const value = element === undefined ? undefined : textOf(element, name);
    return value === undefined ? undefined : oneLine(value);
  };
  return {
    status: answer.status,
    code: text('Code')?.replace(/\W/g, '') || (STATUS_NAMES[answer.status] ?? 'no reason'),
    message: text('Message') ?? '',
    region: regionName(answer.headers['x-amz-bucket-region']) ?? regionName(text('Region')),
    retryAfterMs: parseRetryAfter(answer.headers['retry-after'], now),
  };
}

function errorElement(body: Uint8Array): XmlElement | undefined {
  try {
    return parseAnswer(body, 'Error');
  } catch {
    return undefined; // a page of a proxy, or nothing: the status has to do
  }
}

function regionName(text: string | undefined): string | undefined {
  return text !== undefined && /^[\w-]{1,40}$/.test(text) ? text : undefined;
}

/** Seconds or a date, RFC 9110, 10.2.3. */
function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,6}$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(at - now, 0);
}

/** Codes of S3 that are 400 and yet come of a connection that was too slow, broke off or changed bytes. */
const PASSING_CODES = ['RequestTimeout', 'IncompleteBody', 'BadDigest', 'XAmzContentSHA256Mismatch'];
/** What the server will never do. */
const NEVER = [501, 505];

/** True when the same request may well succeed a little later. */
export function isPassing({ status, code }: ErrorAnswer): boolean {
  if (status === 408 || status === 429 || (status >= 500 && !NEVER.includes(status))) return true;
  return status === 400 && PASSING_CODES.includes(code);
}

/** `403 AccessDenied: …`, without what to do. */
export function describeAnswer({ status, code, message }: ErrorAnswer): string {
  return message === '' ? `${status} ${code}` : `${status} ${code}: ${message.replace(/\.$/, '')}`;
}

/** Codes of S3 → what to do about it. */
const ADVICE: Readonly<Record<string, string>> = {
  AccessDenied:
    "check the key's rights (s3:ListBucket of the bucket; s3:GetObject, s3:PutObject and s3:DeleteObject of what is in it)",
  AllAccessDisabled: "the bucket's owner must open it again",
  AccountProblem: "ask the bucket's owner",
  InvalidAccessKeyId: 'the server does not know the access key: check AWS_ACCESS_KEY_ID or the profile',
  SignatureDoesNotMatch: 'check AWS_SECRET_ACCESS_KEY or the profile, and the region',
  ExpiredToken: 'the session has ended: get new credentials',
  InvalidToken: 'check AWS_SESSION_TOKEN',
  RequestTimeTooSkewed: "this machine's clock and the server's differ by more than 15 minutes: set the clock",
  NoSuchBucket: 'make the bucket, or check its name and the endpoint',
  InvalidBucketName: "check the bucket's name",
  EntityTooLarge: 'the server takes no object of that size in one request',
  QuotaExceeded: 'the quota is used up: make room or have it raised',
  NotImplemented: 'the server cannot do that',
  ServerSideEncryptionConfigurationNotFoundError: "check the bucket's encryption",
  InvalidObjectState: 'the object is archived: restore it first',
};

/** Codes by which a server says that it does not want who asks. */
const DENYING_CODES = [
  'RequestTimeTooSkewed',
  'ExpiredToken',
  'InvalidToken',
  'AuthorizationHeaderMalformed',
];

/**
 * An answer as an error.
 * @param request `s3://b/p: PUT packs/x.pack`
 */
export function answerError(
  request: string,
  answer: ErrorAnswer,
  data: Record<string, unknown>,
): ImgstoreError {
  const advice = adviceFor(answer);
  return new ImgstoreError(
    codeFor(answer),
    `${request}: ${describeAnswer(answer)}${advice === undefined ? '' : `: ${advice}`}`,
    { ...data, status: answer.status, reason: answer.code },
  );
}

function adviceFor(answer: ErrorAnswer): string | undefined {
  const isElsewhere = [301, 307].includes(answer.status) || answer.code === 'AuthorizationHeaderMalformed';
  if (isElsewhere && answer.region !== undefined)
    return `the bucket is in the region ${answer.region}: set it by --region or AWS_REGION`;
  if (isElsewhere || (answer.status >= 300 && answer.status < 400))
    return 'the bucket is at another place: check the region and the endpoint';
  const { code, status } = answer;
  return ADVICE[code] ?? (status === 401 || status === 403 ? ADVICE.AccessDenied : undefined);
}

function codeFor({ status, code }: ErrorAnswer): ErrorCode {
  if (status === 401 || status === 403 || DENYING_CODES.includes(code)) return 'REMOTE_DENIED';
  return code === 'NoSuchKey' || (status === 404 && code === 'NotFound') ? 'NOT_FOUND' : 'REMOTE_FAILED';
}
