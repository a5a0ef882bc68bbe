import { type ErrorCode, ImgstoreError } from '../../../../errors/index.ts';

/*
 * The control socket of a server (docs/sessions.md): each line that a client sends is one request, each line that comes back the answer to the oldest one that has none.
 */

/** Version of the messages. */
export const CONTROL_VERSION = 1;
/** The longest line, in bytes: a commit message is most of it. */
export const MOST_LINE_BYTES = 2 ** 20;

/** What can be asked of a server. */
export type ControlRequest =
  | { readonly command: 'list' }
  | {
      readonly command: 'commit';
      readonly name: string;
      readonly branch?: string | undefined;
      readonly message?: string | undefined;
    }
  | { readonly command: 'discard'; readonly name: string; readonly force?: boolean | undefined }
  | { readonly command: 'stop' };

/** Where a server that listens on a socket is controlled. */
export function controlSocket(socket: string): string {
  return `${socket}.control`;
}

export function encodeRequest(request: ControlRequest): string {
  return `${JSON.stringify({ version: CONTROL_VERSION, ...request })}\n`;
}

/** @throws ImgstoreError `USAGE` for what is no request, `UNSUPPORTED` for one of another version */
export function parseRequest(line: string): ControlRequest {
  const fields = parseObject(line);
  const { version, command } = fields;
  if (version !== CONTROL_VERSION)
    throw new ImgstoreError(
      'UNSUPPORTED',
      `control: the server speaks version ${CONTROL_VERSION}, not ${JSON.stringify(version ?? null)}: use the same imgstore for both`,
      { version: CONTROL_VERSION },
    );
  switch (command) {
    case 'list':
    case 'stop':
      return { command };
    case 'commit': {
      const [branch, message] = [text(fields, 'branch'), text(fields, 'message')];
      return { command, name: needed(text(fields, 'name'), 'name'), branch, message };
    }
    case 'discard': {
      const { force } = fields;
      if (force !== undefined && typeof force !== 'boolean') throw wrong('force is neither true nor false');
      return { command, name: needed(text(fields, 'name'), 'name'), force };
    }
    default:
      throw wrong(`there is no command ${JSON.stringify(command ?? null)}`);
  }
}

/** What a request came to. */
export function encodeResult(result: unknown): string {
  return `${JSON.stringify({ version: CONTROL_VERSION, ok: true, result })}\n`;
}

/** Why a request failed. */
export function encodeFailure({ code, message, data }: ImgstoreError): string {
  return `${JSON.stringify({ version: CONTROL_VERSION, ok: false, error: { code, message, data } })}\n`;
}

/** What an answer says. @throws ImgstoreError the server's, or `USAGE` for what is no answer */
export function parseAnswer(line: string): unknown {
  const { ok, result, error } = parseObject(line);
  if (ok === true) return result;
  if (ok !== false || typeof error !== 'object' || error === null) throw wrong('the server gave no answer');
  const { code, message, data } = error as Record<string, unknown>;
  throw new ImgstoreError(
    String(code) as ErrorCode,
    String(message),
    (data ?? {}) as Record<string, unknown>,
  );
}

function parseObject(line: string): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw wrong('a line is not JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw wrong('a line is no object');
  return json as Record<string, unknown>;
}

function text(fields: Record<string, unknown>, key: string): string | undefined {
  const value = fields[key];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw wrong(`${key} is no text`);
  return value;
}

function needed(value: string | undefined, key: string): string {
  if (value === undefined) throw wrong(`${key} is missing`);
  return value;
}

function wrong(why: string): ImgstoreError {
  return new ImgstoreError('USAGE', `control: ${why}`);
}
