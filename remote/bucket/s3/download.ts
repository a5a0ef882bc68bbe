import { ImgstoreError } from '../../../errors/index.ts';
import type { S3Client, S3Request } from './client.ts';
import { BrokenAnswer } from './fault.ts';
import type { HttpAnswer } from './http.ts';

/** Which bytes of an object are wanted. */
export interface Wanted {
  readonly name: string;
  readonly key: string;
  /** Bytes. */
  readonly offset: number;
  /** Bytes from the offset on; undefined: to the object's end. */
  readonly length?: number | undefined;
}

/** What an answer has of an object. */
interface Span {
  /** Where the body begins in the object. */
  readonly start: number;
  /** Of the object; undefined when the server does not say. */
  readonly size: number | undefined;
  /** Of the object's content; the entity tag and the time of the last change. */
  readonly version: string;
}

/**
 * Reads an object's bytes from an offset on. A body that breaks off is taken up where it broke; that the object is still the same is seen by what the
 * answers say about it, since servers do not agree on how `If-Match` is written: Ceph wants the entity tag without its quotes.
 * @throws ImgstoreError `NOT_FOUND`, `REMOTE_…`, `INTERRUPTED`
 */
export async function* download(client: S3Client, wanted: Wanted): AsyncGenerator<Uint8Array, void> {
  const label = `GET ${wanted.name}`;
  const attempts = client.attempts({ method: 'GET', label });
  const leave = await client.enter();
  const end = wanted.length === undefined ? undefined : wanted.offset + wanted.length;
  let first: Span | undefined;
  let at = wanted.offset;
  try {
    for (;;)
      try {
        const request: S3Request = { method: 'GET', key: wanted.key, headers: rangeHeader(at, end), label };
        const answer = await client.attempt(request);
        if ('code' in answer) {
          if (answer.status === 416 && first === undefined) return; // it ends before the offset
          throw answer.status === 416 ? changed(client, wanted) : client.refused(request, answer);
        }
        const span = parseSpan(answer, at);
        if (first !== undefined && (span.size !== first.size || span.version !== first.version)) {
          answer.abandon();
          throw changed(client, wanted);
        }
        first = span;
        for await (const bytes of wantedBytes(answer, span, at, end)) {
          at += bytes.length;
          attempts.progress();
          yield bytes;
        }
        if (span.size !== undefined && at < Math.min(end ?? span.size, span.size))
          throw new BrokenAnswer('the answer is too short');
        return;
      } catch (error) {
        await attempts.again(error);
      }
  } finally {
    leave();
  }
}

function rangeHeader(at: number, end: number | undefined): Record<string, string> {
  if (at === 0 && end === undefined) return {};
  return { Range: `bytes=${at}-${end === undefined ? '' : end - 1}` };
}

/** @throws BrokenAnswer when the answer is for other bytes than were asked for */
function parseSpan(answer: HttpAnswer, at: number): Span {
  const version = `${answer.headers.etag ?? ''} ${answer.headers['last-modified'] ?? ''}`;
  if (answer.status !== 206) return { start: 0, size: parseSize(answer.headers['content-length']), version };
  const range = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(answer.headers['content-range'] ?? '');
  const [start, size] = [Number(range?.[1]), parseSize(range?.[3])];
  if (range !== null && start === at) return { start, size, version };
  answer.abandon();
  throw new BrokenAnswer('the answer is for another range than was asked for');
}

/** A number of bytes that a server names. */
export function parseSize(text: string | undefined): number | undefined {
  const size = text !== undefined && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
  return Number.isSafeInteger(size) ? size : undefined;
}

/** The bytes of [at, end) out of an answer, which may begin before them when the server does not know ranges. */
async function* wantedBytes(
  answer: HttpAnswer,
  span: Span,
  at: number,
  end: number | undefined,
): AsyncGenerator<Uint8Array, void> {
  let position = span.start;
  for await (const bytes of answer.body()) {
    const from = Math.max(at - position, 0);
    const to = end === undefined ? bytes.length : Math.min(end - position, bytes.length);
    position += bytes.length;
    if (from < to) yield bytes.subarray(from, to);
    if (end !== undefined && position > end) {
      if (answer.status === 206) throw new BrokenAnswer('the answer is longer than what was asked for');
      return; // without ranges all of it comes: the rest is not waited for
    }
  }
}

function changed(client: S3Client, wanted: Wanted): ImgstoreError {
  return new ImgstoreError(
    'REMOTE_FAILED',
    `${client.where}: GET ${wanted.name}: the object was replaced while it was read: run the command again`,
    { url: client.where, key: wanted.key },
  );
}
