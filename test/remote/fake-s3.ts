import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { S3Limits, S3Options } from '../../remote/index.ts';
import type { Conditional, Fault } from './fake-s3-faults.ts';
import { checkSignature, type Keys, type Refusal } from './fake-s3-signature.ts';
import { FakeUploads } from './fake-s3-uploads.ts';

/** Pauses and waits of a client that tests do not want to sit out. */
export const QUICK_LIMITS: Partial<S3Limits> = { firstPauseMs: 1, longestPauseMs: 20, silenceMs: 20_000 };

/** A request that came. */
export interface FakeRequest {
  /** From 1 on, since the server began or {@link FakeS3.forget} was called. */
  readonly number: number;
  readonly method: string;
  /** Undefined: the bucket. */
  readonly key: string | undefined;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

interface Stored {
  readonly bytes: Buffer;
  readonly etag: string;
  readonly modified: Date;
}

/** An answer that is not sent yet. */
interface Reply {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
}

/** What of S3 the server does not have, or has otherwise. */
export interface FakeS3Settings {
  readonly region?: string;
  readonly keys?: Keys;
  readonly conditional?: Conditional;
  /** Whether it knows DeleteObjects; true. */
  readonly deletesMany?: boolean;
  /** Whether it knows uploads in parts; true. */
  readonly hasUploads?: boolean;
  /** Whether it knows ranges; true. */
  readonly hasRanges?: boolean;
  /** Whether it encodes keys in listings as asked; true. */
  readonly encodesKeys?: boolean;
  /** Milliseconds by which its clock is ahead. */
  readonly skewMs?: number;
}

/** A small S3 server in this process, with one bucket, `bucket`, that checks signatures and does what is wrong on command. */
export class FakeS3 {
  readonly keys: Keys;
  readonly uploads = new FakeUploads();
  readonly objects = new Map<string, Stored>();
  /** All that came since {@link FakeS3.forget}. */
  requests: FakeRequest[] = [];
  /** Decides what goes wrong with a request; may let it wait. */
  faultOf: (request: FakeRequest) => Fault | undefined | Promise<undefined> = () => undefined;
  /** Hears of each request's connection, by the client's port. */
  onConnection: (port: number | undefined) => void = () => undefined;
  readonly #server: Server;
  readonly #settings: FakeS3Settings;

  private constructor(settings: FakeS3Settings) {
    this.#settings = settings;
    this.keys = settings.keys ?? { accessKeyId: 'FAKEKEY', secretAccessKey: 'fake/secret+key' };
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(settings: FakeS3Settings = {}): Promise<FakeS3> {
    const fake = new FakeS3(settings);
    fake.#server.listen(0, '127.0.0.1');
    await once(fake.#server, 'listening');
    return fake;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Options for `openS3`, with short pauses. @param prefix in the bucket */
  options(prefix = ''): S3Options {
    return {
      url: `s3://bucket/${prefix}`,
      endpoint: this.endpoint,
      region: this.#region,
      credentials: this.keys,
      environment: { HOME: '/nonexistent' },
      limits: QUICK_LIMITS,
    };
  }

  /** What goes wrong with the next requests, in order; undefined: nothing with that one. */
  failNext(...faults: (Fault | undefined)[]): void {
    this.forget();
    this.faultOf = ({ number }) => faults[number - 1];
  }

  /** Begins to count requests anew. */
  forget(): void {
    this.requests = [];
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  get #region(): string {
    return this.#settings.region ?? 'us-east-1';
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = incoming;
    const url = new URL(incoming.url!, 'http://fake');
    const [, ...parts] = incoming.url!.split('?')[0]!.split('/');
    const [hostBucket] = /^[a-z][^.]*(?=\.)/.exec(incoming.headers.host ?? '') ?? [];
    const bucket = hostBucket ?? parts[0];
    const rest = hostBucket === undefined ? parts.slice(1) : parts;
    const key = rest.join('/') === '' ? undefined : decodeURIComponent(rest.join('/'));
    const head = {
      number: this.requests.length + 1,
      method: incoming.method!,
      key,
      query: url.searchParams,
      headers: incoming.headers,
      body: Buffer.alloc(0),
    };
    this.requests.push(head);
    this.onConnection(socket.remotePort);
    const fault = await this.faultOf(head);
    if (fault?.kind === 'refuse-early') {
      response.writeHead(403, { Connection: 'close' }).end(errorBody('AccessDenied', 'Early.'));
      return;
    }
    if (fault?.kind === 'accept-early') {
      response.writeHead(200).end();
      return;
    }
    const body = await bodyOf(incoming, fault?.kind === 'reset-within');
    if (body === undefined || fault?.kind === 'reset-before') return reset(socket);
    if (fault?.kind === 'stall') return;
    if (fault?.kind === 'no-http') return void socket.end('hello, this is something else\r\n\r\n');
    const request = { ...head, body };
    this.requests[head.number - 1] = request;
    const reply =
      fault?.kind === 'status' ? statusReply(fault) : await this.#answer(incoming, request, bucket!);
    if (fault?.kind === 'reset-after') return reset(socket);
    await send(incoming, response, reply, fault);
  }

  async #answer(incoming: IncomingMessage, request: FakeRequest, bucket: string): Promise<Reply> {
    const now = Date.now() + (this.#settings.skewMs ?? 0);
    const refused = checkSignature(incoming, request.body, this.keys, this.#region, now);
    if (refused !== undefined) return refusalReply(refused, this.#region);
    if (bucket !== 'bucket') return errorReply(404, 'NoSuchBucket', 'The specified bucket does not exist');
    const { method, key, query } = request;
    if (key === undefined && method === 'GET') return this.#list(query);
    if (key === undefined && method === 'POST' && query.has('delete')) return this.#deleteMany(request);
    if (key === undefined) return errorReply(405, 'MethodNotAllowed', 'Not allowed.');
    const uploadReply = this.#upload(key, request);
    if (uploadReply !== undefined) return uploadReply;
    if (method === 'PUT') return this.#put(key, request);
    if (method === 'DELETE') {
      this.objects.delete(key);
      return { status: 204, headers: {}, body: Buffer.alloc(0) };
    }
    return this.#get(key, request);
  }

  #upload(key: string, { method, query, body }: FakeRequest): Reply | undefined {
    const id = query.get('uploadId');
    if (method === 'POST' && query.has('uploads')) {
      if (this.#settings.hasUploads === false) return errorReply(501, 'NotImplemented', 'Not implemented.');
      const begun = xmlText(this.uploads.begin(key));
      return xmlReply(
        `<InitiateMultipartUploadResult><UploadId>${begun}</UploadId></InitiateMultipartUploadResult>`,
      );
    }
    if (id === null) return undefined;
    if (method === 'DELETE') {
      this.uploads.open.delete(id);
      return { status: 204, headers: {}, body: Buffer.alloc(0) };
    }
    if (method === 'PUT') {
      const etag = this.uploads.put(id, key, Number(query.get('partNumber')), body);
      if (etag !== undefined) return { status: 200, headers: { ETag: etag }, body: Buffer.alloc(0) };
    }
    const object = method === 'POST' ? this.uploads.complete(id, key, body.toString()) : undefined;
    if (object === undefined) return errorReply(404, 'NoSuchUpload', 'The specified upload does not exist.');
    this.objects.set(key, { ...object, modified: new Date() });
    return xmlReply('<CompleteMultipartUploadResult></CompleteMultipartUploadResult>');
  }

  async #put(key: string, request: FakeRequest): Promise<Reply> {
    const { conditional = 'atomic' } = this.#settings;
    if (request.headers['if-none-match'] === '*' && conditional !== 'ignored') {
      if (conditional === 'refused') return errorReply(501, 'NotImplemented', 'Not implemented.');
      if (this.objects.has(key)) return errorReply(412, 'PreconditionFailed', 'At least one did not hold.');
      if (conditional === 'racy') await sleep(20);
    }
    this.put(key, request.body);
    return { status: 200, headers: { ETag: this.objects.get(key)!.etag }, body: Buffer.alloc(0) };
  }

  /** Puts an object as if another client had. */
  put(key: string, bytes: Uint8Array): void {
    const etag = `"${createHash('md5').update(bytes).digest('hex')}"`;
    this.objects.set(key, { bytes: Buffer.from(bytes), etag, modified: new Date() });
  }

  #get(key: string, request: FakeRequest): Reply {
    const found = this.objects.get(key);
    if (found === undefined) return errorReply(404, 'NoSuchKey', 'The specified key does not exist.');
    const size = found.bytes.length;
    const headers = { ETag: found.etag, 'Last-Modified': found.modified.toUTCString() };
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    if (range === null || this.#settings.hasRanges === false)
      return { status: 200, headers, body: found.bytes };
    const [start, end] = [Number(range[1]), range[2] === '' ? size : Math.min(Number(range[2]) + 1, size)];
    if (start >= size) return errorReply(416, 'InvalidRange', 'The requested range is not satisfiable');
    return {
      status: 206,
      headers: { ...headers, 'Content-Range': `bytes ${start}-${end - 1}/${size}` },
      body: found.bytes.subarray(start, end),
    };
  }

  #list(query: URLSearchParams): Reply {
    const prefix = query.get('prefix') ?? '';
    const after = Buffer.from(query.get('continuation-token') ?? '', 'base64');
    const most = Math.min(Number(query.get('max-keys') ?? 1000), 1000);
    const keys = [...this.objects.keys()]
      .filter((key) => key.startsWith(prefix) && Buffer.compare(Buffer.from(key), after) > 0)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const page = keys.slice(0, most);
    const isEncoded = query.get('encoding-type') === 'url' && this.#settings.encodesKeys !== false;
    const show = (key: string) => (isEncoded ? encodeURIComponent(key).replaceAll('%20', '+') : xmlText(key));
    const entries = page.map((key) => {
      const { bytes, modified, etag } = this.objects.get(key)!;
      return `<Contents><Key>${show(key)}</Key><LastModified>${modified.toISOString()}</LastModified><ETag>${xmlText(etag)}</ETag><Size>${bytes.length}</Size></Contents>`;
    });
    const isTruncated = page.length < keys.length;
    const token = isTruncated ? Buffer.from(page.at(-1) ?? '').toString('base64') : '';
    return xmlReply(
      `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><IsTruncated>${isTruncated}</IsTruncated>${isEncoded ? '<EncodingType>url</EncodingType>' : ''}${isTruncated ? `<NextContinuationToken>${token}</NextContinuationToken>` : ''}${entries.join('')}</ListBucketResult>`,
    );
  }

  #deleteMany({ body, headers }: FakeRequest): Reply {
    if (this.#settings.deletesMany === false) return errorReply(501, 'NotImplemented', 'Not implemented.');
    if (headers['content-md5'] !== createHash('md5').update(body).digest('base64'))
      return errorReply(400, 'InvalidDigest', 'The Content-MD5 you specified was invalid.');
    const keys = [...body.toString().matchAll(/<Key>(.*?)<\/Key>/gs)].map((match) => match[1]!);
    if (keys.length > 1000) return errorReply(400, 'MalformedXML', 'Too many.');
    for (const key of keys)
      this.objects.delete(key.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&'));
    return xmlReply('<DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></DeleteResult>');
  }
}

async function bodyOf(incoming: IncomingMessage, resets: boolean): Promise<Buffer | undefined> {
  const pieces: Buffer[] = [];
  try {
    for await (const piece of incoming) {
      pieces.push(piece as Buffer);
      if (resets) return undefined;
    }
  } catch {
    return undefined; // the client went away
  }
  return Buffer.concat(pieces);
}

function reset(socket: Socket): void {
  socket.resetAndDestroy();
}

async function send(
  incoming: IncomingMessage,
  response: ServerResponse,
  reply: Reply,
  fault: Fault | undefined,
): Promise<void> {
  let { status, headers, body } = reply;
  if (fault?.kind === 'status-after') ({ status, headers, body } = statusReply({ ...fault, kind: 'status' }));
  if (fault?.kind === 'body') body = Buffer.from(fault.body);
  if (fault?.kind === 'short') body = body.subarray(0, fault.bytes);
  if (fault?.kind === 'bit') body = Buffer.from(body.map((byte, i) => (i === 0 ? byte ^ 1 : byte)));
  const all = {
    'Content-Length': String(body.length),
    ...headers,
    ...(fault?.kind === 'headers' && fault.headers),
  };
  response.writeHead(status, Object.fromEntries(Object.entries(all).filter(([, value]) => value !== '')));
  if (incoming.method === 'HEAD' || status === 204) return void response.end();
  if (fault?.kind !== 'cut' && fault?.kind !== 'stall-within' && fault?.kind !== 'end-within')
    return void response.end(body);
  await new Promise((resolve) => response.write(body.subarray(0, fault.bytes), resolve));
  if (fault.kind === 'end-within') incoming.socket.end();
  // What was written is to arrive, which a reset does not wait for.
  if (fault.kind === 'cut') setTimeout(() => reset(incoming.socket), 30);
}

function statusReply(fault: Extract<Fault, { kind: 'status' }>): Reply {
  const body = fault.body ?? errorBody(fault.code ?? 'Fault', fault.message ?? 'As told.');
  return { status: fault.status, headers: { ...fault.headers }, body: Buffer.from(body) };
}

function refusalReply({ status, code, message }: Refusal, region: string): Reply {
  const reply = errorReply(status, code, message);
  const isRegion = code === 'AuthorizationHeaderMalformed';
  if (isRegion) reply.body = Buffer.from(errorBody(code, message, `<Region>${region}</Region>`));
  return reply;
}

function errorReply(status: number, code: string, message: string): Reply {
  return {
    status,
    headers: { 'Content-Type': 'application/xml' },
    body: Buffer.from(errorBody(code, message)),
  };
}

function errorBody(code: string, message: string, more = ''): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${xmlText(message)}</Message>${more}<RequestId>0</RequestId></Error>`;
}

function xmlReply(xml: string): Reply {
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${xml}`);
  return { status: 200, headers: { 'Content-Type': 'application/xml' }, body };
}

function xmlText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
