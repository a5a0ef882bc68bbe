import { createReadStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { codecs } from '../../../objects/index.ts';
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

  /** The index last, so that a pack with an index is whole. */
  async #send({ row, stem }: OutgoingPack): Promise<void> {
    await this.#bucket.put(packName(row.pack), await fileBody(`${stem}.pack`, row.bytes));
    await this.#bucket.put(indexName(row.pack), await fileBody(`${stem}.idx`, row.indexBytes));
    await rename(`${stem}.idx`, this.#indexes.path(row.pack));
    await this.#journal.add(row);
    await rm(`${stem}.pack`);
    await rm(`${stem}.rev`);
    this.#doneBytes += row.bytes;
    this.#monitor.onProgress?.({ done: this.#doneBytes, total: this.#begunBytes });
  }
}

async function fileBody(path: string, size: number): Promise<RepeatableBody> {
  const open = () => createReadStream(path, { highWaterMark: 256 * 1024 });
  const hash = codecs().hash.create();
  for await (const chunk of open()) hash.update(chunk as Buffer);
  return { size, sha256: Buffer.from(hash.digest()).toString('hex'), open };
}
