import { createHash } from 'node:crypto';
import { badImage } from '../meta/fault.ts';
import {
  CHECKSUM_AT,
  CHECKSUM_BYTES,
  LUKS2_BINARY_BYTES,
  LUKS2_COPY_BYTES,
  type Luks2Binary,
  parseLuks2Binary,
} from '../meta/luks2-binary.ts';
import { digestBytes, isLuksHash } from './hash.ts';
import type { LuksBytes } from './luks-bytes.ts';

/** A copy of the header whose checksum is right. */
export interface Luks2Copy extends Luks2Binary {
  /** The top of its JSON. */
  readonly json: object;
}

/**
 * The newer of the two copies of a header, of those that are whole; the first if they are equally new. What the JSON says
 * is not looked at: an older copy is no way around something in the newer one that cannot be read.
 * @param image the file's name, for errors.
 * @throws ImgstoreError `BAD_IMAGE` when neither is whole.
 */
export async function readLuks2Copies(bytes: LuksBytes, image: string): Promise<Luks2Copy> {
  const first = await readCopy(bytes, 0);
  if (typeof first !== 'string') {
    const second = await readCopy(bytes, first.size);
    return typeof second !== 'string' && second.sequence > first.sequence ? second : first;
  }
  // The first copy does not say where the second one is.
  for (const offset of LUKS2_COPY_BYTES) {
    const second = await readCopy(bytes, offset);
    if (typeof second !== 'string') return second;
  }
  throw badImage(image, `neither copy of its LUKS2 header is whole: the first ${first}`, {
    field: 'LUKS2 header',
  });
}

/** A copy, or a text about what is wrong with it. */
async function readCopy({ read, length }: LuksBytes, offset: number): Promise<Luks2Copy | string> {
  if (offset + LUKS2_BINARY_BYTES > length) return `leaves the ${length} bytes that there are`;
  const head = Buffer.allocUnsafe(LUKS2_BINARY_BYTES);
  await read(offset, head);
  const binary = parseLuks2Binary(head, offset);
  if (typeof binary === 'string') return binary;
  if (offset + binary.size > length) return `has hdr_size = ${binary.size} of ${length} bytes that there are`;
  const { checksumName } = binary;
  if (!isLuksHash(checksumName)) {
    return `has a checksum by ${JSON.stringify(checksumName)}, which imgstore does not have`;
  }
  const area = Buffer.allocUnsafe(binary.size - LUKS2_BINARY_BYTES);
  await read(offset + LUKS2_BINARY_BYTES, area);
  const stored = Buffer.from(head.subarray(CHECKSUM_AT, CHECKSUM_AT + digestBytes(checksumName)));
  head.fill(0, CHECKSUM_AT, CHECKSUM_AT + CHECKSUM_BYTES);
  if (!createHash(checksumName).update(head).update(area).digest().equals(stored)) {
    return 'has another checksum than its bytes have';
  }
  const json = parseJson(area);
  return json === undefined ? 'has no valid JSON' : { ...binary, json };
}

/** The object that an area of JSON is, up to the first zero byte. */
function parseJson(area: Buffer): object | undefined {
  const end = area.indexOf(0);
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(area.subarray(0, Math.max(end, 0)));
    const json: unknown = JSON.parse(text);
    return typeof json === 'object' && json !== null && !Array.isArray(json) ? json : undefined;
  } catch {
    return undefined;
  }
}
