import { SHARE_ENV, Worker } from 'node:worker_threads';
import { type Answer, type Question, READY } from './question.ts';

/**
 * Jobs that a thread has at a time, one of which it works on: the next is there when it is done with that. A job goes to a thread with fewer; the others wait here, so that all threads end
 * at about the same time.
 */
const JOBS_AT_HAND = 2;

/** Of V8's heap, a thread: its data lies outside, so what it allocates there is small. By default it would be 48. */
const YOUNG_MIB = 8;

/** A job that waits for its answer. */
interface OpenJob {
  readonly name: string;
  readonly job: unknown;
  readonly resolve: (answer: Answer<unknown>) => void;
  readonly reject: (error: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly open: Map<number, OpenJob>;
}

/**
 * Threads that do jobs, in the order in which they are asked for.
 *
 * It takes the place of tinypool, which asks after each job how much memory the process has and lets a thread wait between two: hashing a disk of 712 MiB took its threads 0.1 s of 0.5
 * longer each.
 */
export class Threads {
  readonly #file: URL;
  readonly #count: number;
  #threads: Thread[] = [];
  readonly #waiting: OpenJob[] = [];
  #number = 0;
  #isReady = false;
  #closing = false;
  /** Why a thread has ended. */
  #failure: Error | undefined;

  /** @param file the start of a thread; it says {@link READY}, and then answers each {@link Question} with its number and an {@link Answer} */
  constructor(file: URL, count: number) {
    this.#file = file;
    this.#count = count;
  }

  /** Whether one of them has come up. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** The answer of a thread to a job; what it holds is copied, but for shared memory. Fails when a thread ends early, or has. */
  run(name: string, job: unknown): Promise<Answer<unknown>> {
    this.start();
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure;
      this.#waiting.push({ name, job, resolve, reject });
      this.#handOut();
    });
  }

  /** Ends the threads. Jobs must have been waited for. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  /** Makes them come up, so that they are there when the first job comes; does nothing when they do already. */
  start(): void {
    if (this.#threads.length > 0) return;
    this.#threads = Array.from({ length: this.#count }, () => {
      const worker = new Worker(this.#file, {
        env: SHARE_ENV,
        resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
      });
      const thread: Thread = { worker, open: new Map() };
      worker.on('message', (message: typeof READY | [number, Answer<unknown>]) => {
        if (message === READY) {
          this.#isReady = true;
          return;
        }
        const [number, answer] = message;
        thread.open.get(number)?.resolve(answer);
        thread.open.delete(number);
        this.#handOut();
      });
      worker.on('error', (error) => this.#fail(error));
      worker.on('exit', (code) => {
        if (!this.#closing) this.#fail(new Error(`a worker thread ended with exit code ${code}`));
      });
      return thread;
    });
  }

  #handOut(): void {
    while (this.#waiting.length > 0) {
      const [thread] = this.#threads.toSorted((a, b) => a.open.size - b.open.size);
      if (thread === undefined || thread.open.size >= JOBS_AT_HAND) return;
      const next = this.#waiting.shift()!;
      const number = this.#number++;
      thread.open.set(number, next);
      thread.worker.postMessage({ number, name: next.name, job: next.job } satisfies Question);
    }
  }

  /** No job of any thread can be relied on after that. */
  #fail(error: Error): void {
    this.#failure ??= error;
    const open = [
      ...this.#threads.flatMap((thread) => [...thread.open.values()]),
      ...this.#waiting.splice(0),
    ];
    for (const { open: jobs } of this.#threads) jobs.clear();
    for (const { reject } of open) reject(error);
  }
}
