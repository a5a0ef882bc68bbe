import { writevSync } from 'node:fs';
import { fromSystem } from '../../errors/index.ts';

const FREE = 0;
const TAKEN = 1;

/** Milliseconds after which a turn is taken for that of a thread that has gone. */
const LONGEST_TURN = 1000;

/** What writev(2) takes in one call (IOV_MAX of Linux). */
const MOST_PARTS = 1024;

/**
 * Whose turn it is to write to a file. The kernel lets one thread at a time write to a file, and others spin meanwhile; threads that know it do something else. It is about speed alone: two
 * that write at once write to different places.
 */
export class WriteTurn {
  readonly #state: Int32Array;

  /** @param shared by all who write to the file, from {@link WriteTurn.share} */
  constructor(shared: SharedArrayBuffer) {
    this.#state = new Int32Array(shared);
  }

  static share(): SharedArrayBuffer {
    return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  }

  /** False when another thread has it. */
  tryTake(): boolean {
    return Atomics.compareExchange(this.#state, 0, FREE, TAKEN) === FREE;
  }

  take(): void {
    while (!this.tryTake()) {
      if (Atomics.wait(this.#state, 0, TAKEN, LONGEST_TURN) === 'timed-out') return;
    }
  }

  giveBack(): void {
    Atomics.store(this.#state, 0, FREE);
    Atomics.notify(this.#state, 0, 1);
  }
}

/** An open file, and its name for messages. */
export interface WrittenFile {
  readonly fd: number;
  readonly path: string;
}

/** Neighbouring bytes to be written. */
interface Run {
  readonly at: number;
  readonly parts: Uint8Array[];
  length: number;
}

/** Writes clusters to a file when it is this thread's turn. */
export class ClusterWriter {
  readonly #file: WrittenFile;
  readonly #turn: WriteTurn;
  #runs: Run[] = [];

  constructor(file: WrittenFile, turn: SharedArrayBuffer) {
    this.#file = file;
    this.#turn = new WriteTurn(turn);
  }

  /** @param data stays as it is until it is written */
  add(data: Uint8Array, at: number): void {
    const last = this.#runs.at(-1);
    if (last !== undefined && last.at + last.length === at) {
      last.parts.push(data);
      last.length += data.length;
    } else {
      this.#runs.push({ at, parts: [data], length: data.length });
    }
  }

  /** Writes what there is, unless another thread is at it. @throws system errors */
  offer(): void {
    if (this.#turn.tryTake()) this.#writeRuns();
  }

  /** Writes what there is. @throws system errors */
  flush(): void {
    if (this.#runs.length === 0) return;
    this.#turn.take();
    this.#writeRuns();
  }

  #writeRuns(): void {
    try {
      for (const run of this.#runs) writeAll(this.#file, run.parts, run.at);
      this.#runs = [];
    } finally {
      this.#turn.giveBack();
    }
  }
}

/** Writes neighbouring parts. @throws ImgstoreError `IO` */
export function writeAll({ fd, path }: WrittenFile, parts: readonly Uint8Array[], at: number): void {
  try {
    let left = parts;
    for (let done = 0; left.length > 0; ) {
      const written = writevSync(fd, left.slice(0, MOST_PARTS), at + done);
      done += written;
      left = behind(left, written);
    }
  } catch (error) {
    throw fromSystem(error, path);
  }
}

/** What comes after the first bytes. */
function behind(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes;
  return parts.flatMap((part) => {
    const skipped = Math.min(left, part.length);
    left -= skipped;
    return skipped === part.length ? [] : [part.subarray(skipped)];
  });
}
