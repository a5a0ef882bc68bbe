/** What a bucket tells of an object without its bytes. */
export interface BucketEntry {
  /** Within the bucket's prefix: `packs/…`. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** When it was put, by the server's clock. */
  readonly modified: Date;
}

/** Bytes that are put: in memory, or from somewhere that can give them again when a request has to be repeated. */
export type BucketBody = Uint8Array | RepeatableBody;

export interface RepeatableBody {
  /** Bytes that {@link RepeatableBody.open} gives. */
  readonly size: number;
  /** Of the bytes, 64 hex digits, where it is known beforehand: the server then checks what arrives. */
  readonly sha256?: string | undefined;
  /** The same, where it is not known and finding it out means to read all: asked for what goes in one request. */
  readonly findSha256?: (() => Promise<string>) | undefined;
  /**
   * The bytes from their beginning, in pieces that are the receiver's own; called once for each attempt.
   * @param pieceBytes how long pieces are best, but for the last one: others are copied
   */
  open(pieceBytes?: number): AsyncIterable<Uint8Array>;
}

/** A part of an object. */
export interface BucketRange {
  /** Bytes. */
  readonly offset: number;
  /** Bytes; a range that goes past the end gives what is there. */
  readonly length: number;
}

/** What went over the network, requests that were repeated included. */
export interface BucketTraffic {
  readonly requests: number;
  /** Bytes of bodies. */
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/**
 * A flat space of named objects on a server, of which whole objects are put and ranges are read. Requests that fail for a reason that
 * may pass are repeated inside. All errors are ImgstoreErrors: `REMOTE_UNREACHABLE` when the server was not reached or kept failing,
 * `REMOTE_DENIED` when it refuses the credentials, `REMOTE_FAILED` for any other answer, `NOT_FOUND` where there is no such object.
 */
export interface Bucket {
  /** For messages: `s3://bucket/prefix`. */
  readonly where: string;
  /** URL of the server, where there is one: others may have a bucket of the same name. */
  readonly server?: string;
  readonly traffic: BucketTraffic;
  /** An object, or a part of it, in memory. @throws ImgstoreError `NOT_FOUND`, `REMOTE_…`. */
  get(name: string, range?: BucketRange): Promise<Uint8Array>;
  /** An object's bytes from an offset on, as they come; broken connections are taken up where they broke. @throws ImgstoreError `NOT_FOUND`, `REMOTE_…`. */
  read(name: string, offset?: number): AsyncIterable<Uint8Array>;
  /** Puts an object, over one that has the name. @throws ImgstoreError `REMOTE_…`. */
  put(name: string, body: BucketBody): Promise<void>;
  /** Puts an object unless one has the name already (`If-None-Match: *`); says whether it did. @throws ImgstoreError `REMOTE_…`. */
  putNew(name: string, body: Uint8Array): Promise<boolean>;
  /** An object's entry, undefined when there is none. @throws ImgstoreError `REMOTE_…`. */
  stat(name: string): Promise<BucketEntry | undefined>;
  /** The objects whose names begin with `prefix`, in bytewise order of the names; `most` bounds how many. @throws ImgstoreError `REMOTE_…`. */
  list(prefix: string, most?: number): AsyncIterable<BucketEntry>;
  /**
   * The name that an object has in the bucket, which {@link Bucket.list} gives: another one where names are hidden. All methods take both.
   * Not there where no name is another.
   * @throws ImgstoreError `DAMAGED` where it can't be known.
   */
  stored?(name: string): string;
  /** Removes objects; those that are not there are no error. @throws ImgstoreError `REMOTE_…`. */
  remove(names: readonly string[]): Promise<void>;
  /** Ends all connections. */
  close(): Promise<void>;
}
