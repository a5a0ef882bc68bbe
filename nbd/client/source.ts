import { allDone, type BlockSource, checkRange, type Extent, type ExtentKind } from '../../block/index.ts';
import type { RequestFailure } from '../protocol/chunk.ts';
import { ALLOCATION_CONTEXT, AllocationFlag, Command } from '../protocol/constants.ts';
import { errorValueText } from '../protocol/error-values.ts';
import type { MetaContext } from '../protocol/meta-context.ts';
import type { NbdLocation } from '../uri.ts';
import { nbdFailure } from './failure.ts';
import type { Agreement } from './negotiation.ts';
import { type NbdOptions, openExport } from './open.ts';
import { ReadReply } from './read-reply.ts';
import { StatusReply } from './status-reply.ts';
import type { Transmission } from './transmission.ts';

/** The most that one read asks for: what batches of a commit have. Many servers take 32 MiB, but several smaller ones are as fast. */
const MAX_READ_BYTES = 2 * 1024 * 1024;
/** Lengths on the wire have 32 bits without extended headers; a multiple of every minimum block size. */
const MAX_STATUS_RANGE = 2 ** 32 - 65536;

/** A stretch of an export with the flags that a metadata context gives it. */
export interface StatusRange {
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  readonly flags: number;
}

/** An export of an NBD server, read over one connection. */
export class NbdSource implements BlockSource {
  readonly size: number;
  /** The server does not let clients write. */
  readonly readOnly: boolean;
  readonly #label: string;
  readonly #agreement: Agreement;
  readonly #transmission: Transmission;

  private constructor(label: string, agreement: Agreement, transmission: Transmission) {
    this.#label = label;
    this.#agreement = agreement;
    this.#transmission = transmission;
    this.size = agreement.size;
    this.readOnly = agreement.readOnly;
  }

  /**
   * Connects to a server and opens one of its exports.
   * @throws ImgstoreError `NBD`, `NOT_FOUND` for an export that is not there, `UNSUPPORTED` where TLS is required
   */
  static async open(location: NbdLocation, options: NbdOptions): Promise<NbdSource> {
    const { agreement, transmission } = await openExport(location, options);
    return new NbdSource(options.label, agreement, transmission);
  }

  /** Names of the metadata contexts that the server has of those asked for. */
  get contexts(): readonly string[] {
    return this.#agreement.contexts.map(({ name }) => name);
  }

  async *extents(offset: number, length: number): AsyncIterable<Extent> {
    checkRange(this.size, offset, length);
    if (!this.contexts.includes(ALLOCATION_CONTEXT)) {
      if (length > 0) yield { offset, length, kind: 'data' };
      return;
    }
    for await (const range of this.status(ALLOCATION_CONTEXT, offset, length)) {
      yield { offset: range.offset, length: range.length, kind: kindOf(range.flags) };
    }
  }

  /**
   * What a metadata context says about [offset, offset + length): ranges in order, without gap or overlap.
   * @param name one of {@link NbdSource.contexts}
   * @throws ImgstoreError `USAGE` when the range leaves the disk, `NBD`
   */
  async *status(name: string, offset: number, length: number): AsyncIterable<StatusRange> {
    checkRange(this.size, offset, length);
    const context = this.#agreement.contexts.find((each) => each.name === name);
    if (context === undefined)
      throw nbdFailure(this.#label, `the server has no metadata context ${JSON.stringify(name)}`);
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const before = at;
      for await (const range of this.#statusFrom(context, at, end)) {
        yield range;
        at = range.offset + range.length;
      }
      if (at === before) {
        // Of a minimum block it told only what lies before the offset.
        throw nbdFailure(
          this.#label,
          `the server broke the NBD protocol: its block status at ${at} is too short`,
        );
      }
    }
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    checkRange(this.size, offset, into.length);
    const { minimum, maximum } = this.#agreement.blockSizes;
    const end = offset + into.length;
    const step = Math.max(minimum, floorTo(Math.min(maximum, MAX_READ_BYTES), minimum));
    const parts: Promise<void>[] = [];
    for (let at = offset; at < end; ) {
      const next = Math.min(floorTo(at, minimum) + step, end);
      parts.push(this.#readPart(at, into.subarray(at - offset, next - offset)));
      at = next;
    }
    // All parts must have ended before the caller has its buffer back.
    await allDone(parts);
  }

  close(): Promise<void> {
    return this.#transmission.close();
  }

  /** One reply's worth of a context's ranges, at least one, cut to [from, end). */
  async *#statusFrom(context: MetaContext, from: number, end: number): AsyncIterable<StatusRange> {
    const { minimum } = this.#agreement.blockSizes;
    const start = floorTo(from, minimum);
    const { contexts, extended } = this.#agreement;
    const wanted = ceilTo(end, minimum) - start;
    const length = extended ? wanted : Math.min(wanted, MAX_STATUS_RANGE);
    const reply = new StatusReply(contexts, extended);
    const request = { command: Command.blockStatus, offset: start, length };
    this.#refuseFailed(await this.#transmission.request(request, reply), 'the block status', start);
    let at = start;
    let given = from;
    for (const extent of reply.chunk(context).extents()) {
      at += extent.length;
      const to = Math.min(at, end);
      if (to <= given) continue;
      yield { offset: given, length: to - given, flags: extent.flags };
      given = to;
    }
  }

  async #readPart(offset: number, into: Uint8Array): Promise<void> {
    const { minimum } = this.#agreement.blockSizes;
    const start = floorTo(offset, minimum);
    const length = ceilTo(offset + into.length, minimum) - start;
    const exact = length === into.length;
    const bytes = exact ? into : new Uint8Array(length);
    const failure = await this.#transmission.request(
      { command: Command.read, offset: start, length },
      new ReadReply(start, bytes),
    );
    this.#refuseFailed(failure, 'the read', start);
    if (!exact) into.set(bytes.subarray(offset - start, offset - start + into.length));
  }

  #refuseFailed(failure: RequestFailure | undefined, what: string, offset: number): void {
    if (failure === undefined) return;
    const { error, message } = failure;
    const text = message === '' ? '' : ` (${message})`;
    throw nbdFailure(this.#label, `the server failed ${what} at ${offset}: ${errorValueText(error)}${text}`);
  }
}

function kindOf(flags: number): ExtentKind {
  // A hole of which the server does not say that it reads as zeros may read as anything.
  if ((flags & AllocationFlag.zero) === 0) return 'data';
  return (flags & AllocationFlag.hole) === 0 ? 'zero' : 'hole';
}

function floorTo(offset: number, unit: number): number {
  return offset - (offset % unit);
}

function ceilTo(offset: number, unit: number): number {
  return floorTo(offset + unit - 1, unit);
}
