import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open as openFile, rename, rm } from 'node:fs/promises';
import { ImgstoreError } from '../../../errors/index.ts';
import { ID_BYTES } from '../../../objects/index.ts';
import {
  type Bucket,
  indexName,
  packName,
  type RemoteIndexes,
  type RepeatableBody,
} from '../../../remote/index.ts';
import type { Monitor } from '../../progress.ts';
import type { UploadJournal } from './journal.ts';
import type { OutgoingPack } from './outgoing.ts';

/** Packs that are sent at the same time. */
const MOST_AT_ONCE = 4;

/** Sends packs while further ones are being written. */
export class Uploads {
  readonly #bucket: Bucket;
  readonly #indexes: RemoteIndexes;
  readonly #journal: UploadJournal;
  readonly #monitor: Monitor;
  readonly #running = new Set<Promise<void>>();
  #failure: unknown;
  #begunBytes = 0;
  #doneBytes = 0;
  #objects = 0;

  constructor(bucket: Bucket, indexes: RemoteIndexes, journal: UploadJournal, monitor: Monitor) {
    this.#bucket = bucket;
    this.#indexes = indexes;
    this.#journal = journal;
    this.#monitor = monitor;
  }

  /** Objects in the packs so far. */
  get objects(): number {
    return this.#objects;
  }

  /** Begins to send a pack, as soon as there are not too many under way. @throws what became of an earlier one. */
  readonly add = async (pack: OutgoingPack): Promise<void> => {
    while (this.#running.size >= MOST_AT_ONCE) await Promise.race(this.#running);
    if (this.#failure !== undefined) throw this.#failure;
    this.#objects += pack.row.objects;
    this.#begunBytes += pack.row.bytes;
    const running: Promise<void> = this.#send(pack)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => this.#running.delete(running));
    this.#running.add(running);
  };

  /** Waits for all. @throws what the first that failed has thrown. */
  async finish(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #send({ row, stem }: OutgoingPack): Promise<void> {
    // Not when it has arrived: a machine may sleep between the two.
    const sentMs = Date.now();
    const bodies = await Promise.all([
      fileBody(`${stem}.pack`, row.bytes),
      fileBody(`${stem}.idx`, row.indexBytes),
    ]);
    const outcomes = await Promise.allSettled([
      this.#bucket.put(packName(row), bodies[0]),
      this.#bucket.put(indexName(row), bodies[1]),
    ]);
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    await rename(`${stem}.idx`, this.#indexes.path(row.pack));
    await this.#journal.add(row, sentMs);
    await rm(`${stem}.pack`, { force: true });
    await rm(`${stem}.rev`, { force: true });
    this.#doneBytes += row.bytes;
    this.#monitor.onProgress?.({ done: this.#doneBytes, total: this.#begunBytes });
  }
}

/** @throws ImgstoreError `DAMAGED` when the file's last 32 bytes are not the SHA-256 of what is before, as packs and indexes have it */
async function fileBody(path: string, size: number): Promise<RepeatableBody> {
  const open = (end = size) => createReadStream(path, { highWaterMark: 256 * 1024, end: end - 1 });
  const hash = createHash('sha256');
  for await (const chunk of open(size - ID_BYTES)) hash.update(chunk as Buffer);
  const checksum = hash.copy().digest();
  const trailer = Buffer.alloc(ID_BYTES);
  const handle = await openFile(path);
  try {
    await handle.read(trailer, 0, ID_BYTES, size - ID_BYTES);
  } finally {
    await handle.close();
  }
  if (!trailer.equals(checksum))
    throw new ImgstoreError(
      'DAMAGED',
      `${path}: its checksum does not fit its bytes: run 'imgstore fsck' before it is sent anywhere`,
      { path },
    );
  return { size, sha256: hash.update(trailer).digest('hex'), open: () => open() };
}
