import { open as openFile, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { fromSystem, isImgstoreError } from '../../../errors/index.ts';
import { makeInFolder, passPoint, shareFile, syncFolder } from '../../../files/index.ts';
import { isId } from '../../../objects/index.ts';
import {
  type Bucket,
  indexName,
  PACKS,
  packName,
  type RemoteContent,
  type RemotePack,
} from '../../../remote/index.ts';
import type { Store } from '../../store.ts';

/** After this long the bucket's `gc` may have removed what no state lists (docs/format/remote.md): a push that is taken up later sends it again. */
const MOST_AGE_MS = 24 * 60 * 60 * 1000;

/** A push that takes longer has what it has sent listed before it goes on. */
const LISTED_AFTER_MS = 12 * 60 * 60 * 1000;

/** A shorter pack is sent again sooner than it is noted down for good. */
const LEAST_BYTES = 2 ** 20;

/** Names that one answer of S3 lists at most. */
const NAMES_A_REQUEST = 1000;

/** A pack that the bucket has, with its index. */
export interface SentPack {
  readonly row: RemotePack;
  /** When sending it began: ms since 1970. */
  readonly sentMs: number;
}

/**
 * Packs that were sent and that no state lists yet, so that a push that was interrupted does not send them again. In its file each has a line of JSON with a CRC-32, which is added at the end: what a kill has cut off
 * counts for nothing, and so does a file of before there were lines.
 */
export class UploadJournal {
  readonly #store: Store;
  readonly #path: string;
  #lines: SentPack[];

  private constructor(store: Store, path: string, lines: SentPack[]) {
    this.#store = store;
    this.#path = path;
    this.#lines = lines;
  }

  /**
   * Reads what an earlier push has left, as far as the bucket still has it. What a state has listed is left out, as of a push that was killed before it cleared the journal: it may have been dropped since, and be gone
   * at any time.
   * @param content of the bucket
   * @param sent by this process just now: not asked for
   * @throws ImgstoreError `REMOTE_…`
   */
  static async open(
    store: Store,
    path: string,
    bucket: Bucket,
    content: RemoteContent,
    sent: readonly SentPack[] = [],
  ): Promise<UploadJournal> {
    const own = new Set(sent.map(({ row }) => row.upload));
    const noted = (await readLines(path)).filter(({ row }) => !own.has(row.upload));
    const kept = await keptBy(bucket, content, unlisted(content, noted));
    return new UploadJournal(store, path, [...kept, ...unlisted(content, sent)]);
  }

  /**
   * Looks again at what the bucket has, after somebody else has made a state: another process of the store may have had a pack of this journal listed, and a `gc` have removed it since.
   * @throws ImgstoreError `REMOTE_…`
   */
  async lookAgain(bucket: Bucket, content: RemoteContent): Promise<void> {
    this.#lines = await keptBy(bucket, content, unlisted(content, this.#lines));
  }

  get packs(): readonly RemotePack[] {
    return this.#lines.map(({ row }) => row);
  }

  /** Notes a pack that the bucket has now. @param sentMs when sending it began: ms since 1970 @throws ImgstoreError `IO`. */
  async add(row: RemotePack, sentMs: number): Promise<void> {
    const sent = { row, sentMs };
    this.#lines.push(sent);
    await noteSent(this.#store, this.#path, sent);
  }

  /** Packs that a push which is begun again does not send. */
  get notedCount(): number {
    return this.#lines.filter(isNoted).length;
  }

  /** Whether it is time to have a state list what was sent. */
  get isAging(): boolean {
    return this.#lines.some(({ sentMs }) => Date.now() - sentMs >= LISTED_AFTER_MS);
  }

  /** Counts no more on what the bucket's `gc` may have removed, as after a machine has slept for days. @returns whether there was any */
  dropOld(): boolean {
    const fresh = this.#lines.filter(isFresh);
    const isAny = fresh.length < this.#lines.length;
    this.#lines = fresh;
    return isAny;
  }

  /** A state lists them. */
  async clear(): Promise<void> {
    this.#lines = [];
    await rm(this.#path, { force: true });
  }
}

/** Notes a pack in a journal that may be open elsewhere, unless it is small. @param path of the journal @throws ImgstoreError `IO`. */
export async function noteSent({ rules }: Store, path: string, sent: SentPack): Promise<void> {
  if (!isNoted(sent)) return;
  try {
    const handle = await makeInFolder('remote-journal', path, () => openFile(path, 'a'), rules);
    try {
      const { size } = await handle.stat();
      if (size === 0) shareFile(handle.fd, path, rules.sharing);
      const bytes = Buffer.from(encodeLine(sent));
      passPoint('remote-journal.write', path, { bytes, offset: undefined });
      await handle.appendFile(bytes);
      passPoint('remote-journal.fsync', path);
      await handle.sync();
      if (size === 0) await syncFolder('remote-journal', dirname(path));
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fromSystem(error, path);
  }
}

/** The packs that a journal notes, whether the bucket still has them or not. @param path of the journal */
export async function notedPacks(path: string): Promise<RemotePack[]> {
  return (await readLines(path)).map(({ row }) => row);
}

function unlisted(content: RemoteContent, lines: readonly SentPack[]): SentPack[] {
  return lines.filter(({ row }) => !wasListed(content, row));
}

function isNoted({ row }: SentPack): boolean {
  return row.bytes >= LEAST_BYTES;
}

function wasListed({ packs, buried }: RemoteContent, row: RemotePack): boolean {
  return packs.get(row.pack)?.upload === row.upload || buried.has(packName(row));
}

function isFresh({ sentMs }: SentPack): boolean {
  return Date.now() - sentMs < MOST_AGE_MS;
}

/** Those of which pack and index are in the bucket. Asks for each name, or for the list of all, whichever takes fewer requests. */
async function keptBy(
  bucket: Bucket,
  { packs, buried }: RemoteContent,
  lines: readonly SentPack[],
): Promise<SentPack[]> {
  const names = 2 * (packs.size + buried.size + lines.length);
  const isListShorter = Math.ceil(names / NAMES_A_REQUEST) < 2 * lines.length;
  const isThere = isListShorter ? await listedNames(bucket) : statsOf(bucket);
  const kept: SentPack[] = [];
  for (const line of lines) {
    const { row } = line;
    if ((await isThere(packName(row), row.bytes)) && (await isThere(indexName(row), row.indexBytes)))
      kept.push(line);
  }
  return kept;
}

type Presence = (name: string, size: number) => Promise<boolean>;

function statsOf(bucket: Bucket): Presence {
  return async (name, size) => (await bucket.stat(name))?.size === size;
}

async function listedNames(bucket: Bucket): Promise<Presence> {
  const sizes = new Map<string, number>();
  for await (const { name, size } of bucket.list(PACKS)) sizes.set(name, size);
  // With encryption the list has the sizes of the files in the bucket, which are longer; an object is there whole or not at all.
  if (bucket.stored !== undefined) return async (name) => sizes.has(storedName(bucket, name) ?? '');
  return async (name, size) => sizes.get(name) === size;
}

/** Undefined in an encrypted bucket that has been emptied, with what hides the names. */
function storedName(bucket: Bucket, name: string): string | undefined {
  try {
    return bucket.stored!(name);
  } catch (error) {
    if (isImgstoreError(error, 'DAMAGED')) return undefined;
    throw error;
  }
}

/** The line end comes first too, so that what stands before, and was cut off, does not take the line with it. */
function encodeLine(line: SentPack): string {
  return `\n${JSON.stringify({ ...line, crc: checkOf(line) })}\n`;
}

/** CRC-32 of the line as JSON without it. */
function checkOf({ row, sentMs }: SentPack): number {
  return crc32(JSON.stringify({ row, sentMs }));
}

/** What cannot be read counts for nothing: then it is sent again. */
async function readLines(path: string): Promise<SentPack[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text.split('\n').flatMap(parseLine).filter(isFresh);
}

/** None for what was cut off, or is no line of a journal. */
function parseLine(text: string): SentPack[] {
  try {
    const { row, sentMs, crc } = JSON.parse(text) as SentPack & { readonly crc: number };
    return crc === checkOf({ row, sentMs }) && isId(row.pack) ? [{ row, sentMs }] : [];
  } catch {
    return [];
  }
}
