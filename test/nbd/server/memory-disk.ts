import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import type { Extent, ExtentKind } from '../../../block/index.ts';
import {
  type NbdExport,
  type NbdExports,
  NbdServer,
  type NbdServerOptions,
  NotFast,
} from '../../../nbd/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';

const BLOCK = 4096;

/** A disk that clients can change, in memory. Blocks of 4 KiB that were never written, or punched, are holes. */
export class MemoryDisk implements NbdExport {
  readonly name: string;
  readonly description: string = 'in memory';
  readonly size: number;
  readonly readOnly: boolean;
  readonly blockSize: NbdExport['blockSize'];
  readonly multiConnection = true;
  readonly bytes: Buffer;
  readonly #kinds: ExtentKind[];
  /** Calls in order, such as `flush` and `zero 0 4096 punch`; reads are left out. */
  readonly calls: string[] = [];
  /** Calls of {@link release}. */
  released = 0;
  /** Whether zeros are fast. */
  fastZero = true;

  constructor(
    bytes: Uint8Array,
    {
      name = 'disk',
      readOnly = false,
      blockSize = { minimum: 1, preferred: 65536, maximum: 32 * 1024 * 1024 },
    } = {},
  ) {
    this.name = name;
    this.bytes = Buffer.from(bytes);
    this.size = bytes.length;
    this.readOnly = readOnly;
    this.blockSize = blockSize;
    const count = Math.ceil(bytes.length / BLOCK);
    this.#kinds = Array.from({ length: count }, (_, i) =>
      this.bytes.subarray(i * BLOCK, (i + 1) * BLOCK).some((byte) => byte !== 0) ? 'data' : 'hole',
    );
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    await setImmediate();
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const next = Math.min(end, at - (at % BLOCK) + BLOCK);
      yield { offset: at, length: next - at, kind: this.#kinds[Math.floor(at / BLOCK)]! };
      at = next;
    }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.calls.push(`write ${offset} ${bytes.length}`);
    await setImmediate();
    this.bytes.set(bytes, offset);
    this.#mark(offset, bytes.length, 'data');
  }

  async zero(offset: number, length: number, { mayPunch, fast }: { mayPunch: boolean; fast: boolean }) {
    this.calls.push(`zero ${offset} ${length}${mayPunch ? ' punch' : ''}${fast ? ' fast' : ''}`);
    if (fast && !this.fastZero) throw new NotFast();
    this.bytes.fill(0, offset, offset + length);
    this.#mark(offset, length, mayPunch ? 'hole' : 'zero');
  }

  async trim(offset: number, length: number): Promise<void> {
    this.calls.push(`trim ${offset} ${length}`);
    const start = Math.ceil(offset / BLOCK) * BLOCK;
    const end = Math.floor((offset + length) / BLOCK) * BLOCK;
    if (start >= end) return;
    this.bytes.fill(0, start, end);
    this.#mark(start, end - start, 'hole');
  }

  async flush(): Promise<void> {
    this.calls.push('flush');
  }

  async cache(offset: number, length: number): Promise<void> {
    this.calls.push(`cache ${offset} ${length}`);
  }

  async release(): Promise<void> {
    this.released++;
  }

  /** What is only partly made zeros keeps its kind, but a write makes data. */
  #mark(offset: number, length: number, kind: ExtentKind): void {
    const end = offset + length;
    for (let block = Math.floor(offset / BLOCK); block * BLOCK < end; block++) {
      const isWhole = block * BLOCK >= offset && Math.min((block + 1) * BLOCK, this.size) <= end;
      if (isWhole || kind === 'data') this.#kinds[block] = kind;
    }
  }
}

/** A server that ends with the test. */
export interface TestServer {
  readonly server: NbdServer;
  /** Path of its socket. */
  readonly socket: string;
  readonly notices: string[];
  readonly uri: (name?: string) => string;
}

/** Serves one disk as `disk` and by default, or whatever exports are given. */
export async function serve(
  what: NbdExport | NbdExports,
  options: Partial<NbdServerOptions> = {},
): Promise<TestServer> {
  const exports = 'list' in what ? what : only(what);
  const socket = join(await temporaryFolder(), 's');
  const notices: string[] = [];
  const server = await NbdServer.listen(exports, {
    socket,
    onNotice: (line) => notices.push(line),
    ...options,
  });
  onTestFinished(() => server.close());
  return { server, socket, notices, uri: (name = 'disk') => `nbd+unix:///${name}?socket=${socket}` };
}

/** Exports of which there is one. */
export function only(disk: NbdExport): NbdExports {
  return {
    async *list() {
      yield disk;
    },
    open: async (name) => (name === '' || name === disk.name ? disk : undefined),
  };
}

/** Bytes that are never zero and differ from sector to sector. */
export function patterned(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = 1 + ((i * 7 + (i >> 9) * 13) % 255);
  return bytes;
}

/** 1 MiB: data, with a hole from 256 KiB to 512 KiB and a small one at 600 KiB. */
export function holeyBytes(): Buffer {
  const bytes = patterned(1 << 20);
  bytes.fill(0, 256 << 10, 512 << 10);
  bytes.fill(0, 600 << 10, 604 << 10);
  return bytes;
}
