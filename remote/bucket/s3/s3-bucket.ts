import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import type {
  Bucket,
  BucketBody,
  BucketEntry,
  BucketRange,
  BucketTraffic,
  RepeatableBody,
} from '../bucket.ts';
import { readWhole, S3Client, type S3Request } from './client.ts';
import { download, parseSize } from './download.ts';
import { BrokenAnswer, PassingFault } from './fault.ts';
import type { HttpAnswer } from './http.ts';
import { listKeys } from './listing.ts';
import { keyOf } from './names.ts';
import { DEFAULT_LIMITS, type S3Limits, type S3Options } from './options.ts';
import { Removal } from './removal.ts';
import { resolveSettings, type S3Settings } from './settings.ts';
import { uploadInParts } from './upload.ts';

/** Of an object that is read into memory as a whole. */
const MAX_WHOLE_BYTES = 1 << 30;
/** Of the answer to a PUT, which mostly has none. */
const MAX_PUT_ANSWER_BYTES = 64 << 10;
const CONTENT_TYPE = { 'Content-Type': 'application/octet-stream' };
/** A conditional PUT that another one came between is refused with it: "repeat the request", says S3. */
const CONFLICT = 409;
const PRECONDITION_FAILED = 412;

/**
 * Opens a bucket of S3, or of a server that speaks its protocol. Nothing is sent before the first request.
 * @throws ImgstoreError `USAGE`, `BAD_NAME`, `REMOTE_DENIED` when there are no credentials, `IO` for files of the AWS tools
 */
export function s3Bucket(options: S3Options): Bucket {
  const settings = resolveSettings(options);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  return new S3Bucket(settings, new S3Client(settings, options, limits), limits);
}

class S3Bucket implements Bucket {
  readonly where: string;
  readonly server: string;
  readonly traffic: BucketTraffic;
  readonly #settings: S3Settings;
  readonly #client: S3Client;
  readonly #limits: S3Limits;
  readonly #removal: Removal;

  constructor(settings: S3Settings, client: S3Client, limits: S3Limits) {
    this.where = settings.where;
    this.server = settings.base;
    this.traffic = client.traffic;
    this.#settings = settings;
    this.#client = client;
    this.#limits = limits;
    this.#removal = new Removal(client);
  }

  async get(name: string, range?: BucketRange): Promise<Uint8Array> {
    const key = this.#key(name);
    // HTTP has no empty range. That there is such an object is still to be found out.
    if (range?.length === 0) return this.get(name, { offset: 0, length: 1 }).then(() => new Uint8Array());
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of download(this.#client, { name, key, offset: 0, ...range })) {
      bytes += piece.length;
      if (bytes > MAX_WHOLE_BYTES) throw this.#tooLarge(name);
      pieces.push(piece);
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, bytes);
  }

  async *read(name: string, offset = 0): AsyncGenerator<Uint8Array, void> {
    yield* download(this.#client, { name, key: this.#key(name), offset });
  }

  async put(name: string, body: BucketBody): Promise<void> {
    const isLarge = !(body instanceof Uint8Array) && body.size > this.#limits.wholeBytes;
    if (isLarge && (await this.#putInParts(name, body))) return;
    await this.#client.exchange(this.#putRequest(name, await announced(body)), received);
  }

  async putNew(name: string, body: Uint8Array): Promise<boolean> {
    const request = this.#putRequest(name, body, { 'If-None-Match': '*' });
    let mayBeOurs = false;
    const isNew = await this.#client.exchange(
      request,
      received,
      ({ status, code }) => {
        if (status === CONFLICT) throw new Conflict(`409 ${code}`);
        return status === PRECONDITION_FAILED ? { value: false } : undefined;
      },
      (fault) => {
        if (fault instanceof PassingFault && !(fault instanceof Conflict)) mayBeOurs = true;
      },
    );
    if (isNew || !mayBeOurs) return isNew;
    // An attempt before this one broke off, and nobody told us how it ended: the object that is in the way may be the one that it put. Its bytes
    // say so. Were they put by somebody else, then what we wanted is there all the same.
    try {
      return Buffer.compare(await this.get(name, { offset: 0, length: body.length + 1 }), body) === 0;
    } catch (error) {
      // Somebody has removed what was in the way.
      if (isImgstoreError(error, 'NOT_FOUND')) return this.putNew(name, body);
      throw error;
    }
  }

  async stat(name: string): Promise<BucketEntry | undefined> {
    const request: S3Request = { method: 'HEAD', key: this.#key(name), label: `HEAD ${name}` };
    return this.#client.exchange<BucketEntry | undefined>(
      request,
      async (answer) => {
        await received(answer);
        return parseHead(name, answer);
      },
      ({ status }) => (status === 404 ? { value: undefined } : undefined),
    );
  }

  async *list(prefix: string, most?: number): AsyncGenerator<BucketEntry, void> {
    const own = this.#settings.prefix;
    const label = prefix === '' ? 'LIST' : `LIST ${prefix}`;
    for await (const entry of listKeys(this.#client, own + prefix, label, most)) {
      const name = entry.name.slice(own.length);
      // A program that shows buckets as folders has put an object of the prefix's own name.
      if (name !== '') yield { ...entry, name };
    }
  }

  async remove(names: readonly string[]): Promise<void> {
    await this.#removal.remove(names.map((name) => ({ name, key: this.#key(name) })));
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  #key(name: string): string {
    return keyOf(this.#settings, name);
  }

  #putInParts(name: string, body: RepeatableBody): Promise<boolean> {
    const target = { name, key: this.#key(name), headers: CONTENT_TYPE };
    return uploadInParts(this.#client, target, body, this.#limits.partBytes);
  }

  #tooLarge(name: string): ImgstoreError {
    const why = `the object has more than ${MAX_WHOLE_BYTES} bytes and was to be read as a whole`;
    return new ImgstoreError(
      'REMOTE_FAILED',
      `${this.where}: GET ${name}: ${why}: imgstore did not put it there`,
    );
  }

  #putRequest(name: string, body: BucketBody, headers: Record<string, string> = {}): S3Request {
    return {
      method: 'PUT',
      key: this.#key(name),
      headers: { ...CONTENT_TYPE, ...headers },
      body,
      label: `PUT ${name}`,
    };
  }
}

/** An answer that certainly had no effect, and is worth another attempt. */
class Conflict extends PassingFault {}

async function received(answer: HttpAnswer): Promise<true> {
  await readWhole(answer, MAX_PUT_ANSWER_BYTES);
  return true;
}

function parseHead(name: string, answer: HttpAnswer): BucketEntry {
  const size = parseSize(answer.headers['content-length']);
  const modified = new Date(answer.headers['last-modified'] ?? Number.NaN);
  if (size === undefined || Number.isNaN(modified.getTime()))
    throw new BrokenAnswer('the answer lacks the size or the time of the object');
  return { name, size, modified };
}

/** A body with its hash, so that the server checks what arrives. */
async function announced(body: BucketBody): Promise<BucketBody> {
  if (body instanceof Uint8Array || body.sha256 !== undefined) return body;
  const sha256 = await body.findSha256?.();
  return { size: body.size, sha256, open: (pieceBytes) => body.open(pieceBytes) };
}
