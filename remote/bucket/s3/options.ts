/** Which bucket, where, and as whom. What is undefined comes from the environment or from the files of the AWS tools. */
export interface S3Options {
  /** `s3://bucket/prefix`; the prefix may be missing. */
  readonly url: string;
  /** URL of the server, `https://s3.example.org`; AWS's for the region when nothing says another. */
  readonly endpoint?: string | undefined;
  readonly region?: string | undefined;
  /** Whether the bucket's name goes into the path instead of the host's name. By itself: with an endpoint of one's own, or a name that is none for hosts. */
  readonly pathStyle?: boolean | undefined;
  /** Section of the files of the AWS tools. */
  readonly profile?: string | undefined;
  readonly credentials?: S3Credentials | undefined;
  /** In the place of `process.env`. */
  readonly environment?: Environment | undefined;
  /** Ends all requests, and refuses further ones. */
  readonly signal?: AbortSignal | undefined;
  /** At most so many requests at once; 8. An object that is being read is one. */
  readonly simultaneous?: number | undefined;
  readonly limits?: Partial<S3Limits> | undefined;
}

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** How long the server is waited for, how often asked again, and what goes in one request. */
export interface S3Limits {
  /** Milliseconds until there is a connection. */
  readonly connectMs: number;
  /** Milliseconds without a byte from the server, or without it taking one. */
  readonly silenceMs: number;
  /** Requests for one thing, the first included, without anything of it having come. */
  readonly attempts: number;
  /** Milliseconds before the second attempt; doubled for each further one. */
  readonly firstPauseMs: number;
  /** Milliseconds; what a server asks for by Retry-After is cut to it too. */
  readonly longestPauseMs: number;
  /** Bytes of a body that is put with one request; of a source, not of bytes in memory. */
  readonly wholeBytes: number;
  /** Bytes of a part of a larger one. */
  readonly partBytes: number;
}

/** 60 s are what S3's own tools wait for a byte; with six attempts a server that is away is given up after about 6 s of pauses. */
export const DEFAULT_LIMITS: S3Limits = {
  connectMs: 15_000,
  silenceMs: 60_000,
  attempts: 6,
  firstPauseMs: 200,
  longestPauseMs: 20_000,
  wholeBytes: 128 << 20,
  partBytes: 16 << 20,
};
