import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { NbdSource } from '../../../nbd/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';

/** Bytes on the wire, by themselves so that they do not share mistakes with the client. */
export const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
export const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};
export const u64 = (value: number | bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};
export const bytes = (...parts: readonly Uint8Array[]) => Buffer.concat(parts);

export const GREETING = bytes(Buffer.from('NBDMAGICIHAVEOPT'), u16(3));

/** A reply to an option; `type` as the specification numbers it. */
export const optionReply = (option: number, type: number, data: Uint8Array = Buffer.alloc(0)) =>
  bytes(u64(0x3e889045565a9n), u32(option), u32(type), u32(data.length), data);
export const ack = (option: number) => optionReply(option, 1);
export const refusal = (option: number, error: number, text = '') =>
  optionReply(option, 2 ** 31 + error, Buffer.from(text));

/** A chunk of a structured reply. */
export const chunk = (
  cookie: bigint,
  type: number,
  payload: Uint8Array,
  { done = true, length = payload.length } = {},
) => bytes(u32(0x668e33ef), u16(done ? 1 : 0), u16(type), u64(cookie), u32(length), payload);
export const dataChunk = (cookie: bigint, offset: number, data: Uint8Array, done = true) =>
  chunk(cookie, 1, bytes(u64(offset), data), { done });
export const holeChunk = (cookie: bigint, offset: number, length: number, done = true) =>
  chunk(cookie, 2, bytes(u64(offset), u32(length)), { done });
export const statusChunk = (
  cookie: bigint,
  context: number,
  ...extents: readonly (readonly [number, number])[]
) =>
  chunk(cookie, 5, bytes(u32(context), ...extents.map(([length, flags]) => bytes(u32(length), u32(flags)))));

export interface FakeRequest {
  readonly command: number;
  readonly cookie: bigint;
  readonly offset: number;
  readonly length: number;
}

/** What to answer: bytes, or 'end' to close, or 'silence'. */
export type Answer = Uint8Array | 'end' | 'silence';

/** How a server behaves; what is left out is done properly, for an export of `size` zeros. */
export interface Script {
  readonly size?: number;
  /** Extended headers are agreed on. */
  readonly extended?: boolean;
  readonly greeting?: Answer;
  /** Answer to an option by its number. */
  readonly options?: Readonly<Record<number, Answer>>;
  readonly blockSizes?: readonly [number, number, number];
  readonly request?: (request: FakeRequest) => Answer;
}

export const STRUCTURED = 8;
export const EXTENDED = 11;
export const META = 10;
export const GO = 7;
export const LIST = 3;
export const ALLOCATION_ID = 77;

/** Data of NBD_REP_INFO of the export. */
export const exportInfo = (size: number | bigint) => bytes(u16(0), u64(size), u16(3));

/** Starts a server that follows a script, and returns its socket's path; it ends with the test. */
export async function fakeServer(script: Script): Promise<string> {
  const path = join(await temporaryFolder(), 's');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    void serve(socket, script).catch(() => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return path;
}

/** Opens the export of a server that follows a script; closed with the test. */
export async function openFake(
  script: Script,
  options: Partial<Parameters<typeof NbdSource.open>[1]> = {},
): Promise<NbdSource> {
  const path = await fakeServer(script);
  const source = await NbdSource.open({ address: { path }, exportName: 'x' }, { label: 'fake', ...options });
  onTestFinished(() => source.close());
  return source;
}

async function serve(socket: Socket, script: Script): Promise<void> {
  const input = socket[Symbol.asyncIterator]();
  let rest = Buffer.alloc(0);
  const read = async (length: number) => {
    while (rest.length < length) {
      const { value, done } = await input.next();
      if (done) throw new Error('gone');
      rest = Buffer.concat([rest, value]);
    }
    const out = rest.subarray(0, length);
    rest = rest.subarray(length);
    return out;
  };
  const answer = (what: Answer) => {
    if (what === 'end') socket.end();
    else if (what !== 'silence') socket.write(what);
  };
  answer(script.greeting ?? GREETING);
  await read(4);
  for (let option = 0; option !== GO; ) {
    const header = await read(16);
    option = header.readUInt32BE(8);
    await read(header.readUInt32BE(12));
    answer(script.options?.[option] ?? properAnswer(option, script));
  }
  for (;;) {
    const header = await read(script.extended ? 32 : 28);
    const request = {
      command: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      offset: Number(header.readBigUInt64BE(16)),
      length: script.extended ? Number(header.readBigUInt64BE(24)) : header.readUInt32BE(24),
    };
    if (request.command === 2) return void socket.end();
    answer(script.request?.(request) ?? zeros(request));
  }
}

function properAnswer(option: number, { size = 1 << 20, extended = false, blockSizes }: Script): Buffer {
  const info = optionReply(GO, 3, exportInfo(size));
  const sizes =
    blockSizes === undefined
      ? []
      : [optionReply(GO, 3, bytes(u16(3), ...blockSizes.map((value) => u32(value))))];
  const context = optionReply(META, 4, bytes(u32(ALLOCATION_ID), Buffer.from('base:allocation')));
  if (option === META) return bytes(context, ack(META));
  if (option === EXTENDED && !extended) return refusal(EXTENDED, 1);
  return option === GO ? bytes(info, ...sizes, ack(GO)) : ack(option);
}

/** What a server of an empty disk says. */
export function zeros({ command, cookie, offset, length }: FakeRequest): Buffer {
  return command === 0 ? holeChunk(cookie, offset, length) : statusChunk(cookie, ALLOCATION_ID, [length, 3]);
}
