import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeWholeFile } from '../../../files/index.ts';
import { isId } from '../../../objects/index.ts';
import { type Bucket, indexName, packName, type RemotePack } from '../../../remote/index.ts';
import type { Store } from '../../store.ts';

/** After this long the bucket's `gc` may have removed what no state lists (docs/format/remote.md): a push that is taken up later sends it again. */
const MOST_AGE_MS = 24 * 60 * 60 * 1000;

/** A push that takes longer has what it has sent listed before it goes on. */
const LISTED_AFTER_MS = 12 * 60 * 60 * 1000;

/** A shorter pack is sent again sooner than it is noted down for good. */
const LEAST_BYTES = 2 ** 20;

interface Line {
  readonly row: RemotePack;
  /** When sending it began: ms since 1970. */
  readonly sentMs: number;
}

/** Packs that were sent and that no state lists yet, so that a push that was interrupted does not send them again. */
export class UploadJournal {
  readonly #store: Store;
  readonly #path: string;
  #lines: readonly Line[] = [];

  private constructor(store: Store, path: string) {
    this.#store = store;
    this.#path = path;
  }

  /** Reads what an earlier push has left, as far as the bucket still has it. @throws ImgstoreError `REMOTE_…`. */
  static async open(store: Store, path: string, bucket: Bucket): Promise<UploadJournal> {
    const journal = new UploadJournal(store, path);
    const kept: Line[] = [];
    for (const line of await readLines(path)) {
      const isThere =
        (await hasSize(bucket, packName(line.row), line.row.bytes)) &&
        (await hasSize(bucket, indexName(line.row), line.row.indexBytes));
      if (isThere) kept.push(line);
    }
    journal.#lines = kept;
    return journal;
  }

  get packs(): readonly RemotePack[] {
    return this.#lines.map(({ row }) => row);
  }

  /** Notes a pack that the bucket has now. @param sentMs when sending it began: ms since 1970 @throws ImgstoreError `IO`. */
  async add(row: RemotePack, sentMs: number): Promise<void> {
    this.#lines = [...this.#lines, { row, sentMs }];
    if (row.bytes < LEAST_BYTES) return;
    await mkdir(dirname(this.#path), { recursive: true });
    await writeWholeFile(
      'remote-journal',
      this.#path,
      Buffer.from(JSON.stringify(this.#lines)),
      this.#store.rules.sharing,
    );
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

function isFresh({ sentMs }: Line): boolean {
  return Date.now() - sentMs < MOST_AGE_MS;
}

async function hasSize(bucket: Bucket, name: string, size: number): Promise<boolean> {
  return (await bucket.stat(name))?.size === size;
}

/** What cannot be read counts for nothing: then all is sent again. */
async function readLines(path: string): Promise<Line[]> {
  try {
    const lines = JSON.parse(await readFile(path, 'utf8')) as Line[];
    return lines.filter((line) => isId(line.row.pack) && isFresh(line));
  } catch {
    return [];
  }
}
