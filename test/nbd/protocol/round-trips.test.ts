import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encodeExtendedStatus,
  encodeStatus,
  isExtendedStatusLength,
  isStatusLength,
  parseExtendedStatus,
  parseStatus,
} from '../../../nbd/protocol/block-status.ts';
import {
  encodeError,
  parseDataOffset,
  parseError,
  parseHole,
  writeDataOffset,
  writeHole,
} from '../../../nbd/protocol/chunk.ts';
import { Chunk, Info } from '../../../nbd/protocol/constants.ts';
import {
  encodeBlockSizes,
  encodeExportInfo,
  encodeGo,
  infoType,
  parseBlockSizes,
  parseExportInfo,
  parseGo,
} from '../../../nbd/protocol/export-info.ts';
import { ProtocolFault } from '../../../nbd/protocol/fault.ts';
import {
  encodeClientFlags,
  encodeGreeting,
  parseClientFlags,
  parseHandshakeFlags,
  parseStyle,
} from '../../../nbd/protocol/greeting.ts';
import { encodeListedExport, parseListedExport } from '../../../nbd/protocol/listed-export.ts';
import {
  encodeMetaContext,
  encodeMetaContexts,
  parseMetaContext,
  parseMetaContexts,
} from '../../../nbd/protocol/meta-context.ts';
import { encodeOption, parseOptionHeader } from '../../../nbd/protocol/option.ts';
import { encodeOptionReply, parseOptionReplyHeader } from '../../../nbd/protocol/option-reply.ts';
import {
  parseChunkHeader,
  parseExtendedHeader,
  parseSimpleReply,
  writeChunkHeader,
  writeExtendedHeader,
  writeSimpleReply,
} from '../../../nbd/protocol/reply.ts';
import {
  encodeExtendedRequest,
  encodeRequest,
  parseExtendedRequest,
  parseRequest,
} from '../../../nbd/protocol/request.ts';

const uint16 = fc.nat(0xffff);
const uint32 = fc.nat(0xffffffff);
const uint64 = fc.bigInt(0n, 2n ** 64n - 1n);
const offset = fc.maxSafeNat();
const name = fc.string({ unit: 'grapheme', maxLength: 300 });
const text = fc.string({ unit: 'grapheme-ascii', maxLength: 300 }).map((each) => each.trim());

test('parseRequest reads what encodeRequest writes, wherever it lies', () => {
  const request = fc.record({ flags: uint16, command: uint16, cookie: uint64, offset, length: uint32 });
  fc.assert(
    fc.property(request, fc.nat(40), (each, at) => {
      expect(parseRequest(Buffer.concat([Buffer.alloc(at), encodeRequest(each)]), at)).toEqual(each);
    }),
  );
});

test('parseRequest reads an offset beyond 2^53 as one beyond 2^53, and refuses another magic', () => {
  const bytes = encodeRequest({ command: 0, cookie: 0n, offset: 0, length: 0 });
  fc.assert(
    fc.property(fc.bigInt(2n ** 53n, 2n ** 64n - 1n), (large) => {
      bytes.writeBigUInt64BE(large, 16);
      expect(parseRequest(bytes, 0).offset).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
    }),
  );
  bytes[0] = 0;
  expect(() => parseRequest(bytes, 0)).toThrow(ProtocolFault);
});

test('parseOptionHeader and parseOptionReplyHeader read what encodeOption and encodeOptionReply write', () => {
  fc.assert(
    fc.property(uint32, uint32, fc.uint8Array({ maxLength: 100 }), (option, type, data) => {
      expect(parseOptionHeader(encodeOption(option, data))).toEqual({ option, length: data.length });
      const reply = encodeOptionReply(option, type, data);
      expect(parseOptionReplyHeader(reply, option)).toEqual({ type, length: data.length });
      expect(reply.subarray(20).equals(data)).toBe(true);
    }),
  );
});

test('parseGo reads what encodeGo writes', () => {
  fc.assert(
    fc.property(name, fc.array(uint16), (each, wanted) => {
      expect(parseGo(encodeGo(each, wanted))).toEqual({ name: each, wanted });
    }),
  );
});

test('parseMetaContexts and parseMetaContext read what is written for them', () => {
  fc.assert(
    fc.property(name, fc.array(name), uint32, (exportName, queries, id) => {
      expect(parseMetaContexts(encodeMetaContexts(exportName, queries))).toEqual({ exportName, queries });
      expect(parseMetaContext(encodeMetaContext({ id, name: exportName }))).toEqual({ id, name: exportName });
    }),
  );
});

test('parseGo and parseMetaContexts read or refuse any bytes, and refuse every valid one that is cut short or goes on', () => {
  const parsers = [parseGo, parseMetaContexts];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (data) => {
      for (const parse of parsers) {
        try {
          parse(Buffer.from(data));
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolFault);
        }
      }
    }),
  );
  for (const [parse, whole] of [
    [parseGo, encodeGo('disk', [3, 1])],
    [parseMetaContexts, encodeMetaContexts('disk', ['base:', 'base:allocation'])],
  ] as const) {
    for (let length = 0; length < whole.length; length++)
      expect(() => parse(whole.subarray(0, length))).toThrow(ProtocolFault);
    expect(() => parse(Buffer.concat([whole, Buffer.alloc(1)]))).toThrow(ProtocolFault);
  }
});

test('parseExportInfo and parseBlockSizes read what is written for them', () => {
  const power = fc.nat(16).map((exponent) => 2 ** exponent);
  fc.assert(
    fc.property(offset, uint16, power, uint32, (size, flags, minimum, maximum) => {
      const info = encodeExportInfo(size, flags);
      expect(infoType(info)).toBe(Info.export);
      expect(parseExportInfo(info)).toEqual({ size, readOnly: (flags & 2) !== 0 });
      const sizes = { minimum, preferred: 65536, maximum: Math.max(maximum, 65536) };
      expect(parseBlockSizes(encodeBlockSizes(sizes))).toEqual(sizes);
    }),
  );
});

test('parseListedExport reads what encodeListedExport writes', () => {
  fc.assert(
    fc.property(name, text, (each, description) => {
      expect(parseListedExport(encodeListedExport({ name: each, description }))).toEqual({
        name: each,
        description,
      });
    }),
  );
});

test('parseChunkHeader and parseSimpleReply read what is written for them', () => {
  fc.assert(
    fc.property(fc.boolean(), uint16, uint64, uint32, (done, type, cookie, length) => {
      const bytes = Buffer.alloc(25);
      writeChunkHeader(bytes, 5, { done, type, cookie, length });
      expect(bytes.readUInt32BE(5)).toBe(0x668e33ef);
      expect(parseChunkHeader(bytes.subarray(9))).toEqual({ done, type, cookie, length });
      writeSimpleReply(bytes, { error: length, cookie });
      expect(bytes.readUInt32BE(0)).toBe(0x67446698);
      expect(parseSimpleReply(bytes.subarray(4))).toEqual({ error: length, cookie });
    }),
  );
});

test('parseExtendedRequest reads what encodeExtendedRequest writes, and offsets that have no exact number as they are', () => {
  const request = fc.record({ flags: uint16, command: uint16, cookie: uint64, offset, length: offset });
  fc.assert(
    fc.property(request, fc.nat(40), fc.bigInt(2n ** 53n, 2n ** 64n - 1n), (each, at, large) => {
      const bytes = Buffer.concat([Buffer.alloc(at), encodeExtendedRequest(each)]);
      expect(parseExtendedRequest(bytes, at)).toEqual(each);
      bytes.writeBigUInt64BE(large, at + 16);
      const parsed = parseExtendedRequest(bytes, at);
      expect(parsed.exactOffset).toBe(large);
      expect(parsed.offset).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
      bytes[at] = 0;
      expect(() => parseExtendedRequest(bytes, at)).toThrow(ProtocolFault);
    }),
  );
});

test('parseExtendedHeader reads what writeExtendedHeader writes', () => {
  fc.assert(
    fc.property(fc.boolean(), uint16, uint64, offset, uint64, (done, type, cookie, length, at) => {
      const bytes = Buffer.alloc(37);
      writeExtendedHeader(bytes, 5, { done, type, cookie, length }, at);
      expect(bytes.readUInt32BE(5)).toBe(0x6e8a278c);
      expect(parseExtendedHeader(bytes.subarray(9))).toEqual({ done, type, cookie, length, offset: at });
      writeExtendedHeader(bytes, 5, { done, type, cookie, length }, length);
      expect(parseExtendedHeader(bytes.subarray(9)).offset).toBe(BigInt(length));
    }),
  );
});

test('parseExtendedStatus reads what encodeExtendedStatus writes, and refuses what contradicts itself', () => {
  const extent = fc.record({ length: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), flags: uint32 });
  fc.assert(
    fc.property(uint32, fc.array(extent, { minLength: 1 }), (contextId, extents) => {
      const payload = encodeExtendedStatus(contextId, extents);
      expect(isExtendedStatusLength(payload.length)).toBe(true);
      const chunk = parseExtendedStatus(payload);
      expect({ contextId: chunk.contextId, extents: [...chunk.extents()] }).toEqual({ contextId, extents });
      payload.writeUInt32BE(extents.length + 1, 4);
      expect(() => parseExtendedStatus(payload)).toThrow(ProtocolFault);
    }),
  );
  for (const length of [0, 8, 16, 23, 8 + 16 * (2 ** 20 + 1)])
    expect(isExtendedStatusLength(length)).toBe(false);
  expect(() => parseExtendedStatus(encodeExtendedStatus(1, [{ length: 0, flags: 0 }]))).toThrow('length 0');
  expect(() => parseExtendedStatus(encodeExtendedStatus(1, [{ length: 1, flags: 2 ** 32 }]))).toThrow(
    '32 bits',
  );
});

test('parseHole, parseDataOffset and parseError read what is written for them', () => {
  fc.assert(
    fc.property(offset, uint32, text, (at, length, message) => {
      const bytes = Buffer.alloc(12);
      writeHole(bytes, 0, { offset: at, length });
      expect(parseHole(bytes)).toEqual({ offset: at, length });
      writeDataOffset(bytes, 0, at);
      expect(parseDataOffset(bytes)).toBe(at);
      const error = Math.max(1, length);
      expect(parseError(encodeError({ error, message }), Chunk.error)).toEqual({ error, message });
    }),
  );
});

test('encodeError cuts a message off at 4096 bytes, between characters', () => {
  for (const extra of ['', 'a', 'ab', 'abc']) {
    const encoded = encodeError({ error: 5, message: `${extra}${'€'.repeat(2000)}` });
    expect(encoded.length).toBeLessThanOrEqual(6 + 4096);
    expect(encoded.length).toBeGreaterThan(6 + 4092);
    expect(parseError(encoded, Chunk.error).message).toMatch(/^[abc]*€+$/);
  }
});

test('parseStatus reads what encodeStatus writes', () => {
  const extent = fc.record({ length: fc.integer({ min: 1, max: 0xffffffff }), flags: uint32 });
  fc.assert(
    fc.property(uint32, fc.array(extent, { minLength: 1 }), (contextId, extents) => {
      const payload = encodeStatus(contextId, extents);
      expect(isStatusLength(payload.length)).toBe(true);
      const chunk = parseStatus(payload);
      expect({ contextId: chunk.contextId, extents: [...chunk.extents()] }).toEqual({ contextId, extents });
    }),
  );
});

test('Each side reads the flags of the other in the greeting, and parseClientFlags refuses what was not offered', () => {
  const greeting = encodeGreeting();
  expect(parseStyle(greeting)).toBe('newstyle');
  const flags = parseHandshakeFlags(greeting.readUInt16BE(16));
  expect(parseClientFlags(encodeClientFlags(flags))).toEqual({ fixedNewstyle: true, noZeroes: true });
  for (let bit = 2; bit < 32; bit++) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE((3 | (1 << bit)) >>> 0);
    expect(() => parseClientFlags(bytes)).toThrow(ProtocolFault);
  }
});
