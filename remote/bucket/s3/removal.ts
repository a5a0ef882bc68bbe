import { hash } from 'node:crypto';
import { ImgstoreError } from '../../../errors/index.ts';
import { readWhole, type S3Client, type S3Request } from './client.ts';
import { oneLine, PassingFault } from './fault.ts';
import { childrenOf, encodeText, parseAnswer, textOf } from './xml.ts';

/** Of one request, DeleteObjects. */
const MAX_KEYS = 1000;
/** An answer that names an error for each of the keys. */
const MAX_ANSWER_BYTES = 8 << 20;
/** Answers to DeleteObjects by servers that do not have it. */
const UNKNOWN_REQUEST = [400, 404, 405, 501];
/** Faults of one key that may pass. */
const PASSING_CODES = ['InternalError', 'SlowDown', 'ServiceUnavailable', 'RequestTimeout'];

/** An object to be removed. */
export interface Removed {
  readonly name: string;
  readonly key: string;
}

/** Removes objects, many with one request where the server can do that. */
export class Removal {
  readonly #client: S3Client;
  #oneByOne = false;

  constructor(client: S3Client) {
    this.#client = client;
  }

  /** @throws ImgstoreError `REMOTE_…`, `INTERRUPTED`: some may be removed then */
  async remove(objects: readonly Removed[]): Promise<void> {
    for (let at = 0; at < objects.length; at += MAX_KEYS) {
      const some = objects.slice(at, at + MAX_KEYS);
      if (some.length > 1 && !this.#oneByOne) this.#oneByOne = !(await this.#removeTogether(some));
      if (some.length === 1 || this.#oneByOne) await this.#removeEach(some);
    }
  }

  async #removeEach(objects: readonly Removed[]): Promise<void> {
    const done = await Promise.allSettled(objects.map((object) => this.#removeOne(object)));
    const failure = done.find((result) => result.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
  }

  async #removeOne({ name, key }: Removed): Promise<void> {
    await this.#client.exchange(
      { method: 'DELETE', key, label: `DELETE ${name}` },
      (answer) => readWhole(answer, MAX_ANSWER_BYTES),
      // S3 says 204 for what is not there; others do not. That there is no bucket must be told.
      ({ status, code }) =>
        status === 404 && code !== 'NoSuchBucket' ? { value: new Uint8Array() } : undefined,
    );
  }

  /** @returns false when the server does not know the request */
  #removeTogether(objects: readonly Removed[]): Promise<boolean> {
    const keys = objects.map(({ key }) => `<Object><Key>${encodeText(key)}</Key></Object>`).join('');
    const body = Buffer.from(
      `<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>${keys}</Delete>`,
    );
    const request: S3Request = {
      method: 'POST',
      query: { delete: '' },
      // Required besides the signature.
      headers: { 'Content-MD5': hash('md5', body, 'base64'), 'Content-Type': 'application/xml' },
      body,
      label: `DELETE ${objects[0]!.name} and ${objects.length - 1} more`,
    };
    return this.#client.exchange(
      request,
      async (answer) => {
        const result = parseAnswer(await readWhole(answer, MAX_ANSWER_BYTES), 'DeleteResult');
        for (const element of childrenOf(result, 'Error')) {
          const code = oneLine(textOf(element, 'Code') ?? 'no reason');
          if (code === 'NoSuchKey') continue;
          const why = `${oneLine(textOf(element, 'Key') ?? '')}: ${code}: ${oneLine(textOf(element, 'Message') ?? '')}`;
          if (PASSING_CODES.includes(code)) throw new PassingFault(why);
          throw new ImgstoreError(
            code === 'AccessDenied' ? 'REMOTE_DENIED' : 'REMOTE_FAILED',
            `${this.#client.where}: ${request.label}: ${why}`,
            { url: this.#client.where, reason: code },
          );
        }
        return true;
      },
      ({ status, code }) =>
        UNKNOWN_REQUEST.includes(status) && code !== 'NoSuchBucket' ? { value: false } : undefined,
    );
  }
}
