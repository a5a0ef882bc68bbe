import { connect, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';
import { bytes, u16, u32, u64 } from '../client/fake-server.ts';

/** A reply to an option. */
export interface RawOptionReply {
  readonly type: number;
  readonly data: Buffer;
}

/** A chunk of a structured reply, or a simple reply, which has the type 'simple' and an error. */
export interface RawReply {
  readonly type: number | 'simple';
  readonly done: boolean;
  readonly cookie: bigint;
  readonly error: number;
  readonly data: Buffer;
}

export const option = (number: number, data: Uint8Array = Buffer.alloc(0), length = data.length) =>
  bytes(Buffer.from('IHAVEOPT'), u32(number), u32(length), data);
export const named = (name: string) => bytes(u32(Buffer.byteLength(name)), Buffer.from(name));
export const goData = (name: string, ...infos: readonly number[]) =>
  bytes(named(name), u16(infos.length), ...infos.map(u16));
export const metaData = (name: string, ...queries: readonly string[]) =>
  bytes(named(name), u32(queries.length), ...queries.map(named));
export const request = (
  command: number,
  offset: number | bigint,
  length: number,
  { flags = 0, cookie = 1n, payload = Buffer.alloc(0) as Uint8Array } = {},
) => bytes(u32(0x25609513), u16(flags), u16(command), u64(cookie), u64(offset), u32(length), payload);

/** A client that says exactly what it is told to. */
export class RawClient {
  readonly socket: Socket;
  /** What has come and was not read. */
  #chunks: Buffer[] = [];
  #length = 0;
  #ended = false;
  #wake = () => {};

  constructor(target: string | number) {
    const socket = typeof target === 'number' ? connect(target, '127.0.0.1') : connect(target);
    this.socket = socket;
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      this.#wake();
    });
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    socket.on('end', end);
    socket.on('close', end);
    socket.on('error', end);
    onTestFinished(() => void socket.destroy());
  }

  send(...parts: readonly Uint8Array[]): this {
    this.socket.write(bytes(...parts));
    return this;
  }

  async read(length: number): Promise<Buffer> {
    while (this.#length < length) {
      if (this.#ended) throw new Error(`the server closed the connection before ${length} bytes came`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all.subarray(length)];
    this.#length -= length;
    return all.subarray(0, length);
  }

  /** Everything until the server closes. */
  async readToEnd(): Promise<Buffer> {
    while (!this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return Buffer.concat(this.#chunks);
  }

  async greet(flags = 3): Promise<this> {
    await this.read(18);
    return this.send(u32(flags));
  }

  /** Sends an option and returns all replies to it; the last is an acknowledgement or an error. */
  async option(number: number, data?: Uint8Array): Promise<readonly RawOptionReply[]> {
    this.send(option(number, data));
    return this.optionReplies(number);
  }

  async optionReplies(number: number): Promise<readonly RawOptionReply[]> {
    const replies: RawOptionReply[] = [];
    for (;;) {
      const head = await this.read(20);
      if (head.readBigUInt64BE(0) !== 0x3e889045565a9n) throw new Error('no option reply');
      if (head.readUInt32BE(8) !== number) throw new Error(`a reply to option ${head.readUInt32BE(8)}`);
      const type = head.readUInt32BE(12);
      replies.push({ type, data: Buffer.from(await this.read(head.readUInt32BE(16))) });
      if (type === 1 || type >= 2 ** 31) return replies;
    }
  }

  /** Greets, and goes into transmission. */
  async enter(name = '', { structured = true, allocation = false } = {}): Promise<this> {
    await this.greet();
    if (structured) await this.option(8);
    if (allocation) await this.option(10, metaData(name, 'base:allocation'));
    const replies = await this.option(7, goData(name));
    if (replies.at(-1)!.type !== 1) throw new Error(String(replies.at(-1)!.data));
    return this;
  }

  /** One simple reply or chunk. @param length of data that a simple reply brings */
  async reply(length = 0): Promise<RawReply> {
    const magic = (await this.read(4)).readUInt32BE(0);
    if (magic === 0x67446698) {
      const head = await this.read(12);
      const error = head.readUInt32BE(0);
      const data = Buffer.from(await this.read(error === 0 ? length : 0));
      return { type: 'simple', done: true, error, cookie: head.readBigUInt64BE(4), data };
    }
    if (magic !== 0x668e33ef) throw new Error(`a reply with the magic ${magic.toString(16)}`);
    const head = await this.read(16);
    const type = head.readUInt16BE(2);
    const data = Buffer.from(await this.read(head.readUInt32BE(12)));
    const error = (type & 0x8000) === 0 ? 0 : data.readUInt32BE(0);
    return { type, done: (head.readUInt16BE(0) & 1) === 1, cookie: head.readBigUInt64BE(4), error, data };
  }

  /** Sends a request, and gathers what is replied until the last chunk. */
  async ask(
    command: number,
    offset: number | bigint,
    length: number,
    options: Parameters<typeof request>[3] = {},
  ): Promise<readonly RawReply[]> {
    this.send(request(command, offset, length, options));
    const chunks: RawReply[] = [];
    do chunks.push(await this.reply(command === 0 ? length : 0));
    while (!chunks.at(-1)!.done);
    return chunks;
  }

  /** The error of the reply to a request; 0 for none. */
  async errorOf(...args: Parameters<RawClient['ask']>): Promise<number> {
    return (await this.ask(...args)).at(-1)!.error;
  }
}
