import type { Duplex } from 'node:stream';
import { ImgstoreError } from '../../errors/index.ts';
import { readMessage } from '../protocol/bytes.ts';
import { Info, Option, OptionError, OptionReply } from '../protocol/constants.ts';
import {
  type BlockSizes,
  DEFAULT_BLOCK_SIZES,
  type ExportInfo,
  encodeGo,
  infoType,
  parseBlockSizes,
  parseExportInfo,
} from '../protocol/export-info.ts';
import { ProtocolFault } from '../protocol/fault.ts';
import {
  encodeClientFlags,
  GREETING_MAGIC_BYTES,
  parseHandshakeFlags,
  parseStyle,
} from '../protocol/greeting.ts';
import { type ListedExport, parseListedExport } from '../protocol/listed-export.ts';
import { encodeMetaContexts, type MetaContext, parseMetaContext } from '../protocol/meta-context.ts';
import { encodeOption } from '../protocol/option.ts';
import {
  isOptionError,
  OPTION_REPLY_HEADER_BYTES,
  optionErrorText,
  parseOptionReplyHeader,
} from '../protocol/option-reply.ts';
import type { ByteReader } from '../transport/byte-reader.ts';
import { nbdFailure } from './failure.ts';

/** More exports, or more pieces of information about one, are no answer but an attack. */
const MAX_REPLIES = 10_000;

/** What a client and a server agreed on about one export. */
export interface Agreement extends ExportInfo {
  readonly blockSizes: BlockSizes;
  /** Whether replies are structured. */
  readonly structured: boolean;
  /** Whether requests and replies have extended headers. */
  readonly extended: boolean;
  readonly contexts: readonly MetaContext[];
}

/** An option's end: acknowledged, or refused with an error of `OptionError`. */
interface OptionEnd {
  readonly error: number | undefined;
  /** What the server says about it to people; empty if nothing. */
  readonly message: string;
}

/** The client's side of "Fixed newstyle negotiation", on one connection. */
export class Negotiation {
  readonly #stream: Duplex;
  readonly #reader: ByteReader;
  readonly #label: string;

  /** @param label names the server in messages */
  constructor(stream: Duplex, reader: ByteReader, label: string) {
    this.#stream = stream;
    this.#reader = reader;
    this.#label = label;
  }

  /** Hears the server's greeting and answers it. @throws ImgstoreError `NBD` for servers of the old kinds; ProtocolFault */
  async greet(): Promise<void> {
    const style = parseStyle(await this.#reader.read(GREETING_MAGIC_BYTES));
    const greeting =
      style === 'newstyle' ? parseHandshakeFlags((await this.#reader.read(2)).readUInt16BE(0)) : undefined;
    if (!greeting?.fixedNewstyle) {
      throw nbdFailure(
        this.#label,
        `the server speaks ${style} negotiation only, which is older than 2012: use a server that knows fixed newstyle`,
      );
    }
    this.#stream.write(encodeClientFlags(greeting));
  }

  /** Asks for extended headers, with which replies are structured too (`NBD_OPT_EXTENDED_HEADERS`). */
  async extendedHeaders(): Promise<boolean> {
    const { error } = await this.#option(Option.extendedHeaders, undefined, unexpected);
    return error === undefined;
  }

  /** Asks for structured replies (`NBD_OPT_STRUCTURED_REPLY`). */
  async structuredReplies(): Promise<boolean> {
    const { error } = await this.#option(Option.structuredReply, undefined, unexpected);
    return error === undefined;
  }

  /**
   * Asks for metadata contexts (`NBD_OPT_SET_META_CONTEXT`) and returns those that the server has. Structured replies must be
   * agreed on.
   */
  async metaContexts(exportName: string, names: readonly string[]): Promise<readonly MetaContext[]> {
    const contexts: MetaContext[] = [];
    const { error } = await this.#option(
      Option.setMetaContext,
      encodeMetaContexts(exportName, names),
      (type, data) => {
        if (type !== OptionReply.metaContext) return unexpected(type);
        const context = parseMetaContext(data);
        if (!names.includes(context.name))
          throw new ProtocolFault(
            `it offers the metadata context ${JSON.stringify(context.name)}, which was not asked for`,
          );
        if (contexts.some(({ id, name }) => id === context.id || name === context.name))
          throw new ProtocolFault(`it offers the metadata context ${JSON.stringify(context.name)} twice`);
        contexts.push(context);
      },
    );
    return error === undefined ? contexts : [];
  }

  /** Chooses the export and ends the negotiation (`NBD_OPT_GO`). @throws ImgstoreError `NOT_FOUND` when there is none of this name */
  async go(exportName: string): Promise<ExportInfo & { readonly blockSizes: BlockSizes }> {
    let info: ExportInfo | undefined;
    let blockSizes = DEFAULT_BLOCK_SIZES;
    const end = await this.#option(Option.go, encodeGo(exportName, [Info.blockSize]), (type, data) => {
      if (type !== OptionReply.info) return unexpected(type);
      switch (infoType(data)) {
        case Info.export:
          info = parseExportInfo(data);
          break;
        case Info.blockSize:
          blockSizes = parseBlockSizes(data);
          break;
      }
    });
    if (end.error !== undefined) throw this.#refused(end, exportName);
    if (info === undefined) throw new ProtocolFault('it does not say how large the export is');
    return { ...info, blockSizes };
  }

  /** All exports that the server tells of (`NBD_OPT_LIST`). */
  async list(): Promise<readonly ListedExport[]> {
    const exports: ListedExport[] = [];
    const end = await this.#option(Option.list, undefined, (type, data) => {
      if (type !== OptionReply.server) return unexpected(type);
      exports.push(parseListedExport(data));
    });
    if (end.error !== undefined)
      throw nbdFailure(
        this.#label,
        withMessage(`the server lists no exports: it ${optionErrorText(end.error)}`, end),
      );
    return exports;
  }

  /** Says that no export is wanted (`NBD_OPT_ABORT`); the answer need not be waited for. */
  abort(): void {
    this.#stream.end(encodeOption(Option.abort));
  }

  /** Sends an option and hands each reply but the last to `onReply`. */
  async #option(
    option: number,
    data: Uint8Array | undefined,
    onReply: (type: number, data: Buffer) => void,
  ): Promise<OptionEnd> {
    this.#stream.write(encodeOption(option, data));
    for (let replies = 0; replies < MAX_REPLIES; replies++) {
      const header = parseOptionReplyHeader(await this.#reader.read(OPTION_REPLY_HEADER_BYTES), option);
      const payload = await this.#reader.read(header.length);
      if (header.type === OptionReply.ack) {
        if (header.length > 0)
          throw new ProtocolFault(`an acknowledgement has ${header.length} bytes of data`);
        return { error: undefined, message: '' };
      }
      if (isOptionError(header.type)) {
        const end = { error: header.type, message: readMessage(payload) };
        if (header.type === OptionError.tlsRequired) throw this.#tlsRequired(end);
        return end;
      }
      onReply(header.type, payload);
    }
    throw new ProtocolFault(`it answers option ${option} without end`);
  }

  #tlsRequired(end: OptionEnd): ImgstoreError {
    const why = withMessage('the server requires TLS', end);
    return new ImgstoreError(
      'UNSUPPORTED',
      `${this.#label}: ${why}: imgstore does not speak it: let the server listen on a unix socket without TLS, or go through a tunnel`,
      { uri: this.#label },
    );
  }

  #refused(end: OptionEnd & { readonly error?: number | undefined }, exportName: string): ImgstoreError {
    if (end.error === OptionError.unknown) {
      const why = withMessage(`the server has no export ${JSON.stringify(exportName)}`, end);
      return new ImgstoreError('NOT_FOUND', `${this.#label}: ${why}: nbdinfo --list shows what it has`, {
        uri: this.#label,
        exportName,
      });
    }
    if (end.error === OptionError.unsupported)
      return nbdFailure(
        this.#label,
        'the server does not know NBD_OPT_GO: use a server that was made after 2017',
      );
    return nbdFailure(
      this.#label,
      withMessage(`the server does not give the export: it ${optionErrorText(end.error!)}`, end),
    );
  }
}

/** For options that have no replies of this type. @throws ProtocolFault */
function unexpected(type: number): never {
  throw new ProtocolFault(`it answers an option with the type ${type}, which does not belong there`);
}

function withMessage(text: string, { message }: OptionEnd): string {
  return message === '' ? text : `${text} (${message})`;
}
