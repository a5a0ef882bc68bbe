import type { Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import { encodeMessage, readString } from '../protocol/bytes.ts';
import { ALLOCATION_CONTEXT, Info, Option, OptionError, OptionReply } from '../protocol/constants.ts';
import {
  encodeBlockSizes,
  encodeExportInfo,
  encodeSizeAndFlags,
  encodeTextInfo,
  parseGo,
} from '../protocol/export-info.ts';
import { ProtocolFault } from '../protocol/fault.ts';
import { CLIENT_FLAGS_BYTES, encodeGreeting, type Greeting, parseClientFlags } from '../protocol/greeting.ts';
import { encodeListedExport } from '../protocol/listed-export.ts';
import { encodeMetaContext, parseMetaContexts } from '../protocol/meta-context.ts';
import { OPTION_HEADER_BYTES, parseOptionHeader } from '../protocol/option.ts';
import { encodeOptionReply } from '../protocol/option-reply.ts';
import { ByteReader } from '../transport/byte-reader.ts';
import { AskedExport } from './asked-export.ts';
import type { NbdExports } from './export.ts';
import { asRefusal, OptionRefusal, parsed, refuseData } from './option-refusal.ts';
import { ALLOCATION_CONTEXT_ID } from './status.ts';
import { blockSizesOf, type Terms, transmissionFlags } from './terms.ts';

/** Options with more data are refused: what fits are 15 queries of the longest kind for an export with the longest name. */
const MAX_OPTION_BYTES = 64 * 1024;
/** "Newstyle negotiation": what stands behind size and flags in the reply to `NBD_OPT_EXPORT_NAME`, without `NBD_FLAG_C_NO_ZEROES`. */
const RESERVED_ZEROES = 124;

/** What negotiations of a server share. */
export interface NegotiationResources {
  readonly exports: NbdExports;
  readonly tls: NegotiationTls | undefined;
  readonly onNotice: (line: string) => void;
}

/** How TLS is spoken, when it is. */
export interface NegotiationTls {
  readonly options: TlsOptions;
  /** Nothing is done before it has begun. */
  readonly require: boolean;
}

/** The client came to an agreement. */
export interface Agreement {
  readonly terms: Terms;
  /** The socket, or TLS on it. */
  readonly stream: Socket;
  /** What the client has said already behind the negotiation. */
  readonly rest: Buffer;
}

/** The server's side of "Fixed newstyle negotiation", on one connection. */
export class ServerNegotiation {
  readonly #resources: NegotiationResources;
  #stream: Socket;
  #reader: ByteReader;
  #isSecure = false;
  #isShuttingDown = false;
  /** An option is being answered. */
  #isBusy = false;
  #structured = false;
  #extended = false;
  /** The export that `base:allocation` was selected for last. */
  #allocationOf: string | undefined;
  readonly #asked: AskedExport;

  /** @param stream must have no other reader */
  constructor(stream: Socket, resources: NegotiationResources) {
    this.#stream = stream;
    this.#reader = new ByteReader(stream);
    this.#resources = resources;
    this.#asked = new AskedExport(resources.exports, resources.onNotice);
  }

  /** Further options are refused, and the connection is given up behind the one that is under way. @returns whether there is none */
  shutDown(): 'idle' | 'busy' {
    this.#isShuttingDown = true;
    return this.#isBusy ? 'busy' : 'idle';
  }

  /**
   * Goes on until an export is chosen, or the client ends it: undefined.
   * @throws ProtocolFault for a client that lost its way or cannot be told what is wrong; what the stream fails with
   */
  async run(): Promise<Agreement | undefined> {
    try {
      await this.#write(encodeGreeting());
      const greeting = parseClientFlags(await this.#reader.read(CLIENT_FLAGS_BYTES));
      for (;;) {
        const { option, length } = parseOptionHeader(await this.#reader.read(OPTION_HEADER_BYTES));
        if (!greeting.fixedNewstyle && option !== Option.exportName)
          throw new ProtocolFault(`it sends option ${option}, but does not speak fixed newstyle`);
        const data = await this.#readData(length);
        this.#isBusy = true;
        if (option === Option.exportName) return await this.#chooseOld(data, greeting);
        const isChosen = await this.#answer(option, data);
        if (option === Option.abort) return undefined;
        if (isChosen) return this.#agree();
        if (this.#isShuttingDown) return undefined;
        this.#isBusy = false;
      }
    } finally {
      await this.#asked.release();
    }
  }

  /** @returns undefined when the data were too long, and passed over */
  async #readData(length: number): Promise<Buffer | undefined> {
    if (length <= MAX_OPTION_BYTES) return this.#reader.read(length);
    await this.#reader.skip(length);
    return undefined;
  }

  /** `NBD_OPT_EXPORT_NAME`, which knows no errors. */
  async #chooseOld(data: Buffer | undefined, { noZeroes }: Greeting): Promise<Agreement> {
    try {
      if (data === undefined) throw new ProtocolFault('it names an export that is too long');
      this.#refuseOutside(Option.exportName);
      if (this.#extended) throw new ProtocolFault('it asked for extended headers, which need NBD_OPT_GO');
      const disk = await this.#asked.open(readString(data, 'the name of an export'));
      const zeroes = Buffer.alloc(noZeroes ? 0 : RESERVED_ZEROES);
      const head = encodeSizeAndFlags(disk.size, transmissionFlags(disk, this.#structured));
      await this.#write(Buffer.concat([head, zeroes]));
      return this.#agree();
    } catch (error) {
      if (error instanceof OptionRefusal) throw new ProtocolFault(error.message);
      throw error;
    }
  }

  /** Does what an option asks for, and replies. @returns whether an export was chosen */
  async #answer(option: number, data: Buffer | undefined): Promise<boolean> {
    try {
      if (option === Option.abort) {
        await this.#acknowledge(option);
        return false;
      }
      this.#refuseOutside(option);
      if (data === undefined) throw new OptionRefusal(OptionError.tooBig, 'the option is too long');
      return await this.#perform(option, data);
    } catch (error) {
      const refusal = asRefusal(error);
      if (refusal === undefined) throw error;
      await this.#write(encodeOptionReply(option, refusal.type, encodeMessage(refusal.message)));
      return false;
    }
  }

  /** Refuses what is not answered now, whatever the option. */
  #refuseOutside(option: number): void {
    if (this.#isShuttingDown) throw new OptionRefusal(OptionError.shutdown, 'the server is shutting down');
    if (this.#resources.tls?.require === true && !this.#isSecure && option !== Option.startTls)
      throw new OptionRefusal(OptionError.tlsRequired, 'the server wants TLS first');
  }

  async #perform(option: number, data: Buffer): Promise<boolean> {
    switch (option) {
      case Option.list:
        refuseData(data);
        await this.#list();
        return false;
      case Option.info:
      case Option.go:
        await this.#inform(option, data);
        return option === Option.go;
      case Option.startTls:
        refuseData(data);
        await this.#startTls();
        return false;
      case Option.structuredReply:
        refuseData(data);
        if (this.#extended)
          throw new OptionRefusal(OptionError.extendedHeadersRequired, 'extended headers were agreed on');
        this.#structured = true;
        await this.#acknowledge(option);
        return false;
      case Option.extendedHeaders:
        refuseData(data);
        this.#structured = true;
        this.#extended = true;
        await this.#acknowledge(option);
        return false;
      case Option.listMetaContext:
      case Option.setMetaContext:
        await this.#metaContexts(option, data);
        return false;
      default:
        throw new OptionRefusal(OptionError.unsupported, `the server does not know option ${option}`);
    }
  }

  async #list(): Promise<void> {
    for await (const { name, description = '' } of this.#resources.exports.list()) {
      const data = encodeListedExport({ name, description });
      await this.#write(encodeOptionReply(Option.list, OptionReply.server, data));
    }
    await this.#acknowledge(Option.list);
  }

  /** `NBD_OPT_INFO` and `NBD_OPT_GO`. */
  async #inform(option: number, data: Buffer): Promise<void> {
    const { name, wanted } = parsed(() => parseGo(data));
    const disk = await this.#asked.open(name);
    const infos = [encodeExportInfo(disk.size, transmissionFlags(disk, this.#structured))];
    // Told unasked where a client that does not know would be refused.
    if (wanted.includes(Info.blockSize) || disk.blockSize.minimum > 1)
      infos.push(encodeBlockSizes(blockSizesOf(disk)));
    if (wanted.includes(Info.name)) infos.push(encodeTextInfo(Info.name, disk.name));
    if (wanted.includes(Info.description) && disk.description !== undefined)
      infos.push(encodeTextInfo(Info.description, disk.description));
    const replies = infos.map((info) => encodeOptionReply(option, OptionReply.info, info));
    await this.#write(Buffer.concat([...replies, encodeOptionReply(option, OptionReply.ack)]));
  }

  async #metaContexts(option: number, data: Buffer): Promise<void> {
    const isSet = option === Option.setMetaContext;
    // "Replaces all previously-set metadata contexts (including when this command fails)".
    if (isSet) this.#allocationOf = undefined;
    if (!this.#structured)
      throw new OptionRefusal(OptionError.invalid, 'metadata contexts need structured replies');
    const { exportName, queries } = parsed(() => parseMetaContexts(data));
    await this.#asked.open(exportName);
    // Wildcards are for listing only.
    const isWanted =
      queries.includes(ALLOCATION_CONTEXT) || (!isSet && (queries.length === 0 || queries.includes('base:')));
    if (isWanted && isSet) this.#allocationOf = exportName;
    const context = { id: isSet ? ALLOCATION_CONTEXT_ID : 0, name: ALLOCATION_CONTEXT };
    const found = encodeOptionReply(option, OptionReply.metaContext, encodeMetaContext(context));
    const ack = encodeOptionReply(option, OptionReply.ack);
    await this.#write(isWanted ? Buffer.concat([found, ack]) : ack);
  }

  async #startTls(): Promise<void> {
    const { tls } = this.#resources;
    if (tls === undefined) throw new OptionRefusal(OptionError.policy, 'the server has no certificate');
    if (this.#isSecure) throw new OptionRefusal(OptionError.invalid, 'TLS has begun already');
    // What somebody on the way put behind the option must not be taken for the client's own words inside of TLS.
    if (!this.#reader.isEmpty) throw new ProtocolFault('it goes on in the open after it asked for TLS');
    // Few servers speak TLS, and Node takes a while to load it.
    const { startTls } = await import('./tls.ts');
    // "The server MUST NOT preserve any negotiation state".
    this.#structured = false;
    this.#extended = false;
    this.#allocationOf = undefined;
    await this.#asked.release();
    await this.#acknowledge(Option.startTls);
    this.#reader.detach();
    this.#stream = await startTls(this.#stream, tls.options);
    this.#stream.on('error', () => {});
    this.#reader = new ByteReader(this.#stream);
    this.#isSecure = true;
  }

  /** The export that is open goes into transmission. */
  #agree(): Agreement {
    const { name, disk } = this.#asked.take();
    const structured = this.#structured;
    const terms: Terms = {
      export: disk,
      flags: transmissionFlags(disk, structured),
      blockSizes: blockSizesOf(disk),
      structured,
      extended: this.#extended,
      allocation: this.#allocationOf === name,
    };
    return { terms, stream: this.#stream, rest: this.#reader.detach() };
  }

  #acknowledge(option: number): Promise<void> {
    return this.#write(encodeOptionReply(option, OptionReply.ack));
  }

  /** Waits until it is sent, so that a client that does not read gets no more. @throws what the stream fails with */
  #write(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }
}
