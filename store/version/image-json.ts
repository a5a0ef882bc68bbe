import { ImgstoreError } from '../../errors/index.ts';
import { clusterCount, mapLevels } from '../../objects/index.ts';

/** Version of the layout of a commit's tree, the first key of `image.json`. */
export const IMAGE_VERSION = 1;

export const MOST_CLUSTER_SIZE = 2 * 2 ** 20;
export const LEAST_CLUSTER_SIZE = 4096;

/** Facts of the file that a disk was read from; they change nothing about its bytes. */
export type SourceFacts = Readonly<Record<string, string | number | boolean>>;

/** One disk as `image.json` has it. */
export interface DiskRecord {
  /** Bytes. */
  readonly virtualSize: number;
  /** Levels of the cluster map. */
  readonly levels: number;
  readonly source: SourceFacts;
}

/** `image.json`, the description of a version (docs/format/image-json.md). */
export interface ImageRecord {
  readonly version: number;
  /** Bytes. */
  readonly clusterSize: number;
  readonly disks: Readonly<Record<string, DiskRecord>>;
}

/** Names of disks: what names a file and a ref part without quoting. */
const DISK_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** True for a name that a disk or an attachment may have. */
export function isEntryName(name: string): boolean {
  return DISK_NAME_PATTERN.test(name) && !name.endsWith('.lock');
}

/** True for a power of two from {@link LEAST_CLUSTER_SIZE} to {@link MOST_CLUSTER_SIZE}. */
export function isClusterSize(size: number): boolean {
  const inRange = Number.isInteger(size) && size >= LEAST_CLUSTER_SIZE && size <= MOST_CLUSTER_SIZE;
  return inRange && (size & (size - 1)) === 0;
}

/** The text of `image.json`: two spaces of indent, a newline at the end, keys in this order. */
export function encodeImageRecord(record: ImageRecord): Buffer {
  const disks = Object.fromEntries(
    Object.entries(record.disks).map(([name, { virtualSize, levels, source }]) => [
      name,
      { virtualSize, levels, source },
    ]),
  );
  const { version, clusterSize } = record;
  return Buffer.from(`${JSON.stringify({ version, clusterSize, disks }, null, 2)}\n`);
}

/**
 * Parses and checks `image.json`. Keys that are not known are left alone.
 * @throws ImgstoreError `DAMAGED` naming the key, `UNSUPPORTED` for a newer version
 */
export function parseImageRecord(data: Uint8Array): ImageRecord {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString('utf8'));
  } catch (error) {
    throw damaged('it is not JSON', error);
  }
  const { version, clusterSize, disks } = record(json, 'it');
  if (typeof version === 'number' && version > IMAGE_VERSION) {
    throw new ImgstoreError('UNSUPPORTED', `image.json has version ${version}: a newer imgstore is needed`, {
      version,
    });
  }
  if (version !== IMAGE_VERSION) throw damaged(`version is ${JSON.stringify(version)}`);
  if (typeof clusterSize !== 'number' || !isClusterSize(clusterSize))
    throw damaged(`clusterSize is ${JSON.stringify(clusterSize)}`);
  const parsed = Object.entries(record(disks, 'disks')).map(
    ([name, disk]) => [name, parseDisk(name, disk, clusterSize)] as const,
  );
  return { version, clusterSize, disks: Object.fromEntries(parsed) };
}

function parseDisk(name: string, json: unknown, clusterSize: number): DiskRecord {
  if (!isEntryName(name)) throw damaged(`a disk is named ${JSON.stringify(name)}`);
  const { virtualSize, levels, source } = record(json, `disks.${name}`);
  if (typeof virtualSize !== 'number' || !Number.isSafeInteger(virtualSize) || virtualSize < 0) {
    throw damaged(`disks.${name}.virtualSize is ${JSON.stringify(virtualSize)}`);
  }
  const wanted = mapLevels(clusterCount(virtualSize, clusterSize));
  if (levels !== wanted)
    throw damaged(`disks.${name}.levels is ${JSON.stringify(levels)} where ${wanted} belongs`);
  const facts = Object.entries(record(source ?? {}, `disks.${name}.source`)).filter(
    (fact): fact is [string, string | number | boolean] =>
      ['string', 'number', 'boolean'].includes(typeof fact[1]),
  );
  return { virtualSize, levels: wanted, source: Object.fromEntries(facts) };
}

function record(json: unknown, what: string): Record<string, unknown> {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw damaged(`${what} is no object`);
  return json as Record<string, unknown>;
}

function damaged(reason: string, cause?: unknown): ImgstoreError {
  return new ImgstoreError('DAMAGED', `image.json is not valid: ${reason}`, { reason }, cause);
}
