import { isImgstoreError } from '../../errors/index.ts';
import type { PendingFile } from '../../files/index.ts';
import { type OutputFile, type OutputOptions, writeOutputFile } from './output-file.ts';

/** What is to be made, and what to do about it later. */
export interface OutputPlan extends OutputOptions {
  readonly path: string;
  /** Called when the file has its name. @param mtimeNs when it was written last: nanoseconds since 1970 */
  readonly onPublished: (mtimeNs: bigint) => Promise<void>;
  /** Called when something else got the name meanwhile, which does as well unless this throws. */
  readonly onTaken?: (() => Promise<void>) | undefined;
}

/** A file that is written and waits for its name. */
interface WaitingFile {
  readonly plan: OutputPlan;
  readonly file: OutputFile;
}

/**
 * The new files of one checkout. All are written before the first gets its name, so a checkout that fails leaves none of them; names are
 * given in the order of writing, so a file never has its name before the one that it stands on.
 */
export class Outputs {
  readonly #waiting: WaitingFile[] = [];

  /** Writes a file. Returns what `write` returns: the bytes of data written. @throws what `write` throws, and `IO` */
  async write(plan: OutputPlan, write: (file: PendingFile) => Promise<number>): Promise<number> {
    let bytes = 0;
    const file = await writeOutputFile(plan.path, plan, async (pending) => {
      bytes = await write(pending);
    });
    this.#waiting.push({ plan, file });
    return bytes;
  }

  /** Gives the files their names. @throws ImgstoreError `EXISTS`, `IN_USE`, `IO` */
  async publish(): Promise<void> {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      await name(next);
      this.#waiting.shift();
    }
  }

  /** Removes the files that have no names yet. Never throws. */
  async discard(): Promise<void> {
    for (const { file } of this.#waiting.splice(0)) await file.discard();
  }
}

async function name({ plan, file }: WaitingFile): Promise<void> {
  try {
    await file.publish();
  } catch (error) {
    if (plan.onTaken === undefined || !isImgstoreError(error, 'EXISTS')) throw error;
    await file.discard();
    return plan.onTaken();
  }
  await plan.onPublished(file.mtimeNs);
}
