import { createHash, createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** A refusal by S3's code. */
export interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
}

export interface Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

const MAX_SKEW_MS = 15 * 60_000;

const refusal = (code: string, message: string, status = 403): Refusal => ({ status, code, message });
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/**
 * Checks the signature of a request as "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)" has it, on its own: what signs the requests of imgstore has no part in it.
 * @param now milliseconds, by the server's clock
 */
export function checkSignature(
  request: IncomingMessage,
  body: Uint8Array,
  keys: Keys,
  region: string,
  now: number,
): Refusal | undefined {
  const { authorization = '', 'x-amz-date': date = '', 'x-amz-content-sha256': payload } = plain(request);
  const parts =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([\w-]+)\/s3\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/.exec(
      authorization,
    );
  if (parts === null) return refusal('AccessDenied', 'Access Denied.');
  const [, id, day, signedRegion, signedHeaders, signature] = parts as unknown as string[];
  if (id !== keys.accessKeyId) return refusal('InvalidAccessKeyId', 'The key does not exist in our records.');
  if (keys.sessionToken !== plain(request)['x-amz-security-token'])
    return refusal('InvalidToken', 'The provided token is malformed or otherwise invalid.', 400);
  if (signedRegion !== region)
    return refusal(
      'AuthorizationHeaderMalformed',
      `The authorization header is malformed; the region '${signedRegion}' is wrong; expecting '${region}'`,
      400,
    );
  const time = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date)?.slice(1).map(Number);
  if (time === undefined || !date.startsWith(day!)) return refusal('AccessDenied', 'No date.');
  const at = Date.UTC(time[0]!, time[1]! - 1, time[2], time[3], time[4], time[5]);
  if (Math.abs(at - now) > MAX_SKEW_MS)
    return refusal(
      'RequestTimeTooSkewed',
      'The difference between the request time and the current time is too large.',
    );
  const names = signedHeaders!.split(';');
  const mustBeSigned = Object.keys(request.headers).filter(
    (name) =>
      name === 'host' || name === 'content-md5' || name.startsWith('x-amz-') || name.startsWith('if-'),
  );
  const unsigned = mustBeSigned.filter((name) => !names.includes(name));
  if (unsigned.length > 0)
    return refusal('AccessDenied', `There were headers not signed: ${unsigned.join()}`);
  if (payload !== 'UNSIGNED-PAYLOAD' && payload !== sha256(body))
    return refusal('XAmzContentSHA256Mismatch', 'The provided hash does not match what was computed.', 400);
  const canonical = [
    request.method,
    ...canonicalUrl(request.url!),
    ...names.map((name) => `${name}:${plain(request)[name]?.trim().replace(/ +/g, ' ')}`),
    '',
    signedHeaders,
    payload,
  ].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n');
  const key = [day!, region, 's3', 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${keys.secretAccessKey}`,
  );
  if (hmac(key, text).toString('hex') === signature) return undefined;
  return refusal('SignatureDoesNotMatch', 'The signature we calculated does not match the one you provided.');
}

/** Path and query as they must be encoded, made anew of what they mean. */
function canonicalUrl(url: string): [string, string] {
  const [path, query = ''] = url.split('?') as [string, string?];
  const pairs = query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const [name, value = ''] = pair.split('=') as [string, string?];
      return `${encode(decodeURIComponent(name))}=${encode(decodeURIComponent(value))}`;
    });
  return [
    path
      .split('/')
      .map((part) => encode(decodeURIComponent(part)))
      .join('/'),
    pairs.sort().join('&'),
  ];
}

function encode(text: string): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      if (/[A-Za-z0-9._~-]/.test(character)) return character;
      return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}

function plain(request: IncomingMessage): Record<string, string | undefined> {
  return request.headers as Record<string, string | undefined>;
}
