import { badImage, unsupported } from './fault.ts';
import { JsonObject } from './json-object.ts';
import { SECTOR, wholeSectors } from './layout.ts';
import {
  type LuksCipherName,
  type LuksDigest,
  type LuksHeader,
  type LuksKdf,
  type LuksSegment,
  type LuksSlot,
  MAX_KEY_BYTES,
  STRIPES,
} from './luks-header.ts';
import { LUKS2_BINARY_BYTES } from './luks2-binary.ts';

/*
 * The JSON of a LUKS header of version 2 (LUKS2 On-Disk Format Specification, section 3). Offsets and sizes are texts
 * of decimal digits; other numbers are numbers.
 */
const STRUCTURE = 'LUKS2 header';
/** cryptsetup has no more of any kind. */
const MAX_OBJECTS = 32;
const MAX_U32 = 2 ** 32 - 1;
const SALT_BYTES = 32;
const MIN_DIGEST_BYTES = 20;
const MAX_DIGEST_BYTES = 64;
const MAX_SECTOR_BYTES = 4096;
/** cryptsetup has no larger one. */
const MAX_KEYSLOTS_BYTES = 128 * 1024 * 1024;
/** Far below where numbers of sectors, added to it, lose their last digit. */
const MAX_FIRST_SECTOR = 2 ** 52;
/** Argon2 needs as much for each lane (RFC 9106, section 3.1). */
const MIN_LANE_KIB = 8;
/** cryptsetup makes 4 at most. */
const MAX_LANES = 64;
const NORMAL_PRIORITY = 1;
const MAX_PRIORITY = 2;
/** The only one there is, as long as nothing re-encrypts the disk. */
const SEGMENT = '0';

/** Where key material may lie, in bytes from the start of the LUKS header. */
interface Room {
  readonly start: number;
  readonly end: number;
}

/** A key slot with what is needed to put it in order. */
interface RankedSlot {
  readonly slot: LuksSlot;
  readonly priority: number;
}

/**
 * Checks the JSON of a header.
 * @param copyBytes of one copy of the header. @param length of the header with all key material, in bytes.
 * @param image the file's name, for errors.
 * @throws ImgstoreError `BAD_IMAGE` naming the field; `UNSUPPORTED` for what this reader does not have: a disk in several
 * segments or with integrity tags, and whatever the header requires of readers.
 */
export function parseLuks2(json: object, copyBytes: number, length: number, image: string): LuksHeader {
  const top = new JsonObject(json, STRUCTURE, image);
  const config = top.object('config');
  refuseRequirements(config, image);
  const room = keyslotRoom(config, copyBytes, length);
  const segment = parseSegment(top.object('segments'), image);
  const digests = numbered(top.object('digests')).map((digest) => parseDigest(digest, image));
  const ofDisk = digests.filter(({ segments }) => segments.includes(SEGMENT));
  const ranked: RankedSlot[] = [];
  const areas: Area[] = [];
  for (const { id, object } of numbered(top.object('keyslots'))) {
    if (object.text('type') !== 'luks2') continue;
    const area = parseArea(object.object('area'), id, room);
    areas.push(area);
    const digest = ofDisk.find(({ keyslots }) => keyslots.includes(id))?.digest;
    // A slot may hold a key that is not this disk's.
    if (digest !== undefined) ranked.push(parseSlot(object, area, digest));
  }
  refuseOverlap(areas, image);
  return { segment, slots: inOrder(ranked) };
}

/** Preferred ones first. Those of priority 0 are to be used only when they are asked for, or there are no others. */
function inOrder(ranked: readonly RankedSlot[]): readonly LuksSlot[] {
  const offered = ranked.filter(({ priority }) => priority > 0);
  return (offered.length === 0 ? [...ranked] : offered)
    .sort((a, b) => b.priority - a.priority)
    .map(({ slot }) => slot);
}

/** Any of them says that a reader that does not know it must keep off. */
function refuseRequirements(config: JsonObject, image: string): void {
  if (!config.has('requirements')) return;
  const requirements = config.object('requirements');
  const [first] = requirements.has('mandatory') ? requirements.texts('mandatory') : [];
  if (first === undefined) return;
  throw unsupported(
    image,
    `its LUKS2 header requires ${JSON.stringify(first.slice(0, 40))}, which imgstore does not have: if it is being re-encrypted, let cryptsetup finish that`,
    { field: 'config.requirements' },
  );
}

/** Key material lies behind the two copies of the header. */
function keyslotRoom(config: JsonObject, copyBytes: number, length: number): Room {
  const jsonBytes = copyBytes - LUKS2_BINARY_BYTES;
  if (config.decimal('json_size') !== jsonBytes) throw config.bad('json_size', `is not ${jsonBytes}`);
  const start = 2 * copyBytes;
  return { start, end: Math.min(start + config.decimal('keyslots_size', MAX_KEYSLOTS_BYTES), length) };
}

function parseSegment(segments: JsonObject, image: string): LuksSegment {
  const { keys } = segments;
  if (keys.length > 1) {
    throw unsupported(image, `its LUKS2 header has ${keys.length} segments: imgstore reads disks of one`, {
      field: 'segments',
      value: keys.length,
    });
  }
  const segment = segments.object(SEGMENT);
  const type = segment.text('type');
  if (type !== 'crypt') {
    throw unsupported(
      image,
      `its LUKS2 header has a segment of type ${JSON.stringify(type)}: imgstore reads those of type crypt`,
      {
        field: 'segments.0.type',
        value: type,
      },
    );
  }
  if (segment.has('integrity')) {
    throw unsupported(
      image,
      'its LUKS2 header has a segment with integrity tags, which imgstore does not read',
      {
        field: 'segments.0.integrity',
      },
    );
  }
  const sectorBytes = segment.integer('sector_size', SECTOR, MAX_SECTOR_BYTES);
  if (!Number.isInteger(Math.log2(sectorBytes))) throw segment.bad('sector_size', 'is not a power of two');
  const offset = segment.decimal('offset');
  if (offset % SECTOR !== 0) throw segment.bad('offset', `is not a multiple of ${SECTOR}`);
  return {
    cipher: cipherName(segment),
    offset,
    size: segmentSize(segment, sectorBytes),
    sectorBytes,
    firstSector: segment.decimal('iv_tweak', MAX_FIRST_SECTOR),
  };
}

function segmentSize(segment: JsonObject, sectorBytes: number): number | undefined {
  if (segment.text('size') === 'dynamic') return undefined;
  const size = segment.decimal('size');
  if (size === 0 || size % sectorBytes !== 0) {
    throw segment.bad('size', `is not a multiple of ${sectorBytes} above 0`);
  }
  return size;
}

interface ParsedDigest {
  readonly keyslots: readonly string[];
  readonly segments: readonly string[];
  readonly digest: LuksDigest;
}

function parseDigest({ object }: Numbered, image: string): ParsedDigest {
  const type = object.text('type');
  if (type !== 'pbkdf2') {
    throw unsupported(image, `its LUKS2 header has a digest of type ${JSON.stringify(type)}, not pbkdf2`, {
      field: 'digests',
      value: type,
    });
  }
  return {
    keyslots: object.texts('keyslots'),
    segments: object.texts('segments'),
    digest: {
      hash: object.text('hash'),
      iterations: object.integer('iterations', 1, MAX_U32),
      salt: object.bytes('salt', SALT_BYTES, SALT_BYTES),
      digest: object.bytes('digest', MIN_DIGEST_BYTES, MAX_DIGEST_BYTES),
    },
  };
}

/** Where a slot's key material is, in bytes. */
interface Area {
  readonly id: string;
  readonly offset: number;
  readonly size: number;
}

function parseArea(area: JsonObject, id: string, room: Room): Area {
  if (area.text('type') !== 'raw') throw area.bad('type', 'is not "raw"');
  const offset = area.decimal('offset');
  const size = area.decimal('size');
  if (size === 0 || offset < room.start || offset > room.end - size) {
    throw area.bad(
      'offset',
      `and size ${size} are not within ${room.start} to ${room.end}, where keys can be`,
    );
  }
  return { id, offset, size };
}

function refuseOverlap(areas: readonly Area[], image: string): void {
  const sorted = [...areas].sort((a, b) => a.offset - b.offset);
  sorted.forEach((area, i) => {
    const next = sorted[i + 1];
    if (next === undefined || area.offset + area.size <= next.offset) return;
    throw badImage(
      image,
      `LUKS2 header field keyslots.${next.id}.area overlaps that of key slot ${area.id}`,
      {
        field: `keyslots.${next.id}.area`,
      },
    );
  });
}

function parseSlot(slot: JsonObject, { id, offset, size }: Area, digest: LuksDigest): RankedSlot {
  const keyBytes = slot.integer('key_size', 1, MAX_KEY_BYTES);
  const af = slot.object('af');
  if (af.text('type') !== 'luks1') throw af.bad('type', 'is not "luks1"');
  const stripes = af.integer('stripes', 1, MAX_U32);
  if (stripes !== STRIPES) throw af.bad('stripes', `is not ${STRIPES}`);
  const area = slot.object('area');
  const materialLength = keyBytes * STRIPES;
  if (size < wholeSectors(materialLength)) {
    throw area.bad('size', `is too small for ${STRIPES} stripes of ${keyBytes} bytes`);
  }
  return {
    slot: {
      index: Number(id),
      kdf: parseKdf(slot.object('kdf')),
      cipher: cipherName(area),
      slotKeyBytes: area.integer('key_size', 1, MAX_KEY_BYTES),
      keyBytes,
      stripesHash: af.text('hash'),
      materialOffset: offset,
      materialLength,
      digest,
    },
    priority: slot.has('priority') ? slot.integer('priority', 0, MAX_PRIORITY) : NORMAL_PRIORITY,
  };
}

function parseKdf(kdf: JsonObject): LuksKdf {
  const type = kdf.text('type');
  if (type === 'pbkdf2') {
    return {
      type,
      hash: kdf.text('hash'),
      iterations: kdf.integer('iterations', 1, MAX_U32),
      salt: kdf.bytes('salt', SALT_BYTES, SALT_BYTES),
    };
  }
  if (type !== 'argon2i' && type !== 'argon2id') return { type: 'unknown', name: type };
  const lanes = kdf.integer('cpus', 1, MAX_LANES);
  return {
    type,
    passes: kdf.integer('time', 1, MAX_U32),
    memoryKib: kdf.integer('memory', MIN_LANE_KIB * lanes, MAX_U32),
    lanes,
    salt: kdf.bytes('salt', SALT_BYTES, SALT_BYTES),
  };
}

/** `aes-xts-plain64` as name and mode. */
function cipherName(owner: JsonObject): LuksCipherName {
  const [name = '', ...mode] = owner.text('encryption').split('-');
  return { name, mode: mode.join('-') };
}

interface Numbered {
  readonly id: string;
  readonly object: JsonObject;
}

/** The members of an object whose keys are numbers, in their order. */
function numbered(owner: JsonObject): readonly Numbered[] {
  return owner.keys.map((id) => {
    if (!/^\d{1,2}$/.test(id) || Number(id) >= MAX_OBJECTS || String(Number(id)) !== id) {
      throw owner.bad(id, `does not have a number below ${MAX_OBJECTS} for its name`);
    }
    return { id, object: owner.object(id) };
  });
}
