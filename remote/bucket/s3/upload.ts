import { createHash } from 'node:crypto';
import { ImgstoreError } from '../../../errors/index.ts';
import type { RepeatableBody } from '../bucket.ts';
import type { ErrorAnswer } from './answer-error.ts';
import { readWhole, type S3Client, type S3Request } from './client.ts';
import { BrokenAnswer, oneLine, PassingFault } from './fault.ts';
import { wrongLength } from './http.ts';
import { encodeText, parseAnswer, textOf } from './xml.ts';

/** S3's own limit, "Amazon S3 multipart upload limits". */
const MAX_PARTS = 10_000;
/** Parts in memory at once, which are on their way. */
const PARTS_AT_ONCE = 4;
const MAX_ANSWER_BYTES = 64 << 10;
/** Answers of servers that do not have uploads in parts. */
const UNKNOWN_REQUEST = [400, 405, 501];

/** What is put. */
export interface UploadTarget {
  readonly name: string;
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Puts an object in parts: S3 takes no more than 5 GiB in one request, and what breaks off costs one part. The object is there when all of it is.
 * @param partBytes bytes of a part, more where there would be too many; four are in memory
 * @returns false when the server does not know uploads in parts, with nothing done
 * @throws ImgstoreError `REMOTE_…`, `INTERRUPTED`, what the body's source throws; the parts are removed then, unless the server is not reached
 */
export async function uploadInParts(
  client: S3Client,
  target: UploadTarget,
  body: RepeatableBody,
  partBytes: number,
): Promise<boolean> {
  const id = await begin(client, target);
  if (id === undefined) return false;
  const upload = new Upload(client, target, id);
  try {
    await upload.sendParts(body, Math.max(partBytes, Math.ceil(body.size / MAX_PARTS)));
    await upload.complete(body.size);
  } catch (error) {
    await upload.abort();
    throw error;
  }
  return true;
}

function begin(client: S3Client, target: UploadTarget): Promise<string | undefined> {
  const request: S3Request = {
    method: 'POST',
    key: target.key,
    query: { uploads: '' },
    headers: target.headers,
    label: `POST ${target.name} (in parts)`,
  };
  return client.exchange<string | undefined>(
    request,
    async (answer) => {
      const id = textOf(
        parseAnswer(await readWhole(answer, MAX_ANSWER_BYTES), 'InitiateMultipartUploadResult'),
        'UploadId',
      );
      if (!id) throw new BrokenAnswer('the answer has no id of an upload');
      return id;
    },
    ({ status }) => (UNKNOWN_REQUEST.includes(status) ? { value: undefined } : undefined),
  );
}

class Upload {
  readonly #client: S3Client;
  readonly #target: UploadTarget;
  readonly #id: string;
  /** Entity tags of the parts, as the server gave them. */
  readonly #tags: string[] = [];
  readonly #onTheWay = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor(client: S3Client, target: UploadTarget, id: string) {
    this.#client = client;
    this.#target = target;
    this.#id = id;
  }

  async sendParts(body: RepeatableBody, partBytes: number): Promise<void> {
    let number = 0;
    for await (const part of partsOf(body, partBytes)) {
      this.#start(++number, part);
      if (this.#onTheWay.size >= PARTS_AT_ONCE) await Promise.race(this.#onTheWay);
      if (this.#failure !== undefined) break;
    }
    await Promise.all(this.#onTheWay);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** @param size of the object, in bytes */
  async complete(size: number): Promise<void> {
    const parts = this.#tags.map(
      (tag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${encodeText(tag)}</ETag></Part>`,
    );
    const namespace = 'http://s3.amazonaws.com/doc/2006-03-01/';
    const request: S3Request = {
      method: 'POST',
      key: this.#target.key,
      query: { uploadId: this.#id },
      headers: { 'Content-Type': 'application/xml' },
      body: Buffer.from(
        `<CompleteMultipartUpload xmlns="${namespace}">${parts.join('')}</CompleteMultipartUpload>`,
      ),
      label: `POST ${this.#target.name} (all parts)`,
    };
    let mayBeDone = false;
    const isDone = await this.#client.exchange<boolean>(
      request,
      async (answer) => {
        refuseFailure(await readWhole(answer, MAX_ANSWER_BYTES));
        return true;
      },
      (error) => (mayBeDone && isGone(error) ? { value: false } : undefined),
      (fault) => {
        if (fault instanceof PassingFault) mayBeDone = true;
      },
    );
    // An attempt before broke off, and there is no such upload any more: it was completed then, if the object is there.
    if (!isDone && !(await this.#isThere(size)))
      throw new ImgstoreError(
        'REMOTE_FAILED',
        `${this.#client.where}: ${request.label}: the server has lost the parts: run the command again`,
      );
  }

  /** Removes the parts, which would be kept and paid for. That the object could not be put is the failure to be told. */
  async abort(): Promise<void> {
    await Promise.all(this.#onTheWay);
    const query = { uploadId: this.#id };
    const label = `DELETE ${this.#target.name} (parts)`;
    await this.#client.tryOnce({ method: 'DELETE', key: this.#target.key, query, label });
  }

  #start(number: number, part: Uint8Array): void {
    const sending = this.#send(number, part)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#onTheWay.delete(sending));
    this.#onTheWay.add(sending);
  }

  async #send(number: number, part: Uint8Array): Promise<void> {
    this.#tags[number - 1] = await this.#client.exchange<string>(
      {
        method: 'PUT',
        key: this.#target.key,
        query: { partNumber: String(number), uploadId: this.#id },
        body: part,
        label: `PUT ${this.#target.name} (part ${number})`,
      },
      async (answer) => {
        await readWhole(answer, MAX_ANSWER_BYTES);
        const { etag } = answer.headers;
        if (!etag) throw new BrokenAnswer('the answer lacks the entity tag of the part');
        return etag;
      },
    );
  }

  async #isThere(size: number): Promise<boolean> {
    return this.#client.exchange<boolean>(
      { method: 'HEAD', key: this.#target.key, label: `HEAD ${this.#target.name}` },
      async (answer) => {
        await readWhole(answer, MAX_ANSWER_BYTES);
        const { etag = '', 'content-length': length } = answer.headers;
        // What is put in parts has their number at the end of its entity tag.
        return length === String(size) && etag.replaceAll('"', '').endsWith(`-${this.#tags.length}`);
      },
      ({ status }) => (status === 404 ? { value: false } : undefined),
    );
  }
}

function isGone({ status, code }: ErrorAnswer): boolean {
  return status === 404 && code !== 'NoSuchBucket';
}

/** S3 says 200 before it puts the parts together, so that a failure stands in the body. */
function refuseFailure(bytes: Uint8Array): void {
  let error: ReturnType<typeof parseAnswer>;
  try {
    error = parseAnswer(bytes, 'Error');
  } catch {
    parseAnswer(bytes, 'CompleteMultipartUploadResult');
    return;
  }
  throw new BrokenAnswer(oneLine(`${textOf(error, 'Code') ?? ''}: ${textOf(error, 'Message') ?? ''}`));
}

/** The bytes of a body in parts, which are checked against what was said of them. */
async function* partsOf(body: RepeatableBody, partBytes: number): AsyncGenerator<Uint8Array, void> {
  const hash = body.sha256 === undefined ? undefined : createHash('sha256');
  let [came, filled] = [0, 0];
  let part: Uint8Array = new Uint8Array();
  for await (const bytes of body.open(partBytes)) {
    hash?.update(bytes);
    if (came + bytes.length > body.size) throw wrongLength(body.size, came + bytes.length);
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(partBytes, body.size - came + filled);
      const piece = bytes.subarray(at, at + length - filled);
      if (piece.length === length) part = piece;
      else {
        if (filled === 0) part = Buffer.allocUnsafeSlow(length);
        part.set(piece, filled);
      }
      [at, filled, came] = [at + piece.length, filled + piece.length, came + piece.length];
      if (filled < length || came === body.size) continue;
      yield part;
      filled = 0;
    }
  }
  if (came !== body.size) throw wrongLength(body.size, came);
  // The last part is held back until all is known to be right.
  if (hash !== undefined && hash.digest('hex') !== body.sha256)
    throw new RangeError('a body was announced with another hash than its bytes have');
  yield part;
}
