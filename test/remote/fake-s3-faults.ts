/** What goes wrong with one request. */
export type Fault =
  /** The answer is an error, without effect. `body` in the place of S3's XML. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly code?: string;
      readonly message?: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    }
  /** The connection is reset without effect. */
  | { readonly kind: 'reset-before' }
  /** The connection is reset after the request took effect. */
  | { readonly kind: 'reset-after' }
  /** An error is the answer although the request took effect. */
  | { readonly kind: 'status-after'; readonly status: number }
  /** The connection is reset within the body of the request. */
  | { readonly kind: 'reset-within' }
  /** Refused before the body was read; then the connection is closed. */
  | { readonly kind: 'refuse-early' }
  /** The answer is yes before the body was read. */
  | { readonly kind: 'accept-early' }
  /** No answer comes, without effect. */
  | { readonly kind: 'stall' }
  /** After so many bytes of the answer's body nothing more comes. */
  | { readonly kind: 'stall-within'; readonly bytes: number }
  /** After so many bytes of the answer's body the connection is reset. */
  | { readonly kind: 'cut'; readonly bytes: number }
  /** After so many bytes of the answer's body, all of which arrive, the connection ends. */
  | { readonly kind: 'end-within'; readonly bytes: number }
  /** The answer's body is so many bytes only, and Content-Length says so too. */
  | { readonly kind: 'short'; readonly bytes: number }
  /** The answer's body is another. */
  | { readonly kind: 'body'; readonly body: string }
  /** Headers of the answer are others; empty: missing. */
  | { readonly kind: 'headers'; readonly headers: Readonly<Record<string, string>> }
  /** One bit of the answer's body is wrong. */
  | { readonly kind: 'bit' }
  /** What comes is no HTTP. */
  | { readonly kind: 'no-http' };

/** How a server treats `If-None-Match: *`. */
export type Conditional =
  /** As it should. */
  | 'atomic'
  /** The object is replaced. */
  | 'ignored'
  /** 501. */
  | 'refused'
  /** It looks, and puts a little later. */
  | 'racy';
