import { rename, rm } from 'node:fs/promises';
import { syncFile } from '../../../files/index.ts';
import type { Bucket, RemoteIndexes } from '../../../remote/index.ts';
import type { Monitor } from '../../progress.ts';
import { fileBody } from './file-body.ts';
import type { UploadJournal } from './journal.ts';
import type { OutgoingPack } from './outgoing.ts';
import { putPack } from './put-pack.ts';

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
    const pack = fileBody(`${stem}.pack`, row.bytes);
    await putPack(this.#bucket, row, pack, fileBody(`${stem}.idx`, row.indexBytes));
    await syncFile('remote-index', `${stem}.idx`);
    await rename(`${stem}.idx`, this.#indexes.path(row.pack));
    await this.#journal.add(row, sentMs);
    await rm(`${stem}.pack`, { force: true });
    await rm(`${stem}.rev`, { force: true });
    this.#doneBytes += row.bytes;
    this.#monitor.onProgress?.({ done: this.#doneBytes, total: this.#begunBytes });
  }
}
