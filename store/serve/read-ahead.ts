/** Places at which reads have ended that are remembered: clients read several parts of a disk at a time. */
const MOST_STREAMS = 16;

/** Reads that follow each other before it is read ahead. */
const LEAST_READS = 2;

/** Reads of which the last ended at some place. */
interface Stream {
  end: number;
  reads: number;
  /** How far was read ahead. */
  ahead: number;
}

/** Finds clients that read on and on, and says what they will want next. Offsets and lengths are bytes. */
export class ReadAhead {
  readonly #size: number;
  readonly #window: number;
  /** The least recently used first. */
  readonly #streams: Stream[] = [];

  /** @param size of the disk @param window how far it is read ahead */
  constructor(size: number, window: number) {
    this.#size = size;
    this.#window = window;
  }

  /** Notes a read. @returns the range to be read ahead now; undefined for none */
  note(offset: number, length: number): { readonly offset: number; readonly length: number } | undefined {
    const end = offset + length;
    const i = this.#streams.findIndex((stream) => stream.end === offset);
    if (i < 0) {
      this.#streams.push({ end, reads: 1, ahead: end });
      if (this.#streams.length > MOST_STREAMS) this.#streams.shift();
      return undefined;
    }
    const [stream] = this.#streams.splice(i, 1) as [Stream];
    this.#streams.push(stream);
    stream.end = end;
    stream.reads++;
    stream.ahead = Math.max(stream.ahead, end);
    const goal = Math.min(end + this.#window, this.#size);
    // Half a window at least, so that it is asked for by many clusters at a time.
    if (stream.reads <= LEAST_READS || goal - stream.ahead < this.#window / 2) return undefined;
    const from = stream.ahead;
    stream.ahead = goal;
    return { offset: from, length: goal - from };
  }
}
