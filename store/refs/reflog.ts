import { appendFile, mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromSystem, systemCode } from '../../errors/index.ts';
import { passPoint } from '../../files/index.ts';
import { encodePerson, type ObjectId, type Person, parsePerson } from '../../objects/index.ts';

/** One move of a ref. */
export interface ReflogEntry {
  readonly before: ObjectId;
  readonly after: ObjectId;
  readonly person: Person;
  readonly message: string;
}

const LINE_PATTERN = /^([0-9a-f]{64}) ([0-9a-f]{64}) ([^\t]*)(?:\t(.*))?$/;

/** The logs of a store's refs, in git's format, one file a ref below `logs/`; the newest line is the last. */
export class Reflogs {
  readonly #folder: string;

  /** @param storeFolder the store; the logs are in its `logs/` */
  constructor(storeFolder: string) {
    this.#folder = join(storeFolder, 'logs');
  }

  /** Adds a line. @throws ImgstoreError `IO`. */
  async append(ref: string, entry: ReflogEntry): Promise<void> {
    const path = join(this.#folder, ref);
    const message = entry.message.replace(/\s+/g, ' ').trim();
    try {
      await mkdir(dirname(path), { recursive: true });
      passPoint('reflog.write', path);
      await appendFile(path, `${entry.before} ${entry.after} ${encodePerson(entry.person)}\t${message}\n`);
    } catch (error) {
      throw fromSystem(error, path);
    }
  }

  /** All lines, oldest first; none when there is no log. @throws ImgstoreError `IO`. */
  async read(ref: string): Promise<ReflogEntry[]> {
    const path = join(this.#folder, ref);
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(systemCode(error) ?? '')) return [];
      throw fromSystem(error, path);
    }
    // A line that is no line was cut off by a full disk or a kill: git passes over it too.
    return text.split('\n').flatMap((line) => {
      const match = LINE_PATTERN.exec(line);
      if (match === null) return [];
      const [, before, after, person, message] = match;
      return [{ before: before!, after: after!, person: parsePerson(person!), message: message ?? '' }];
    });
  }

  /** Adds lines that another ref had before. */
  async write(ref: string, entries: readonly ReflogEntry[]): Promise<void> {
    for (const entry of entries) await this.append(ref, entry);
  }

  /** Removes the log of a ref that is no more. */
  async remove(ref: string): Promise<void> {
    passPoint('reflog.remove', join(this.#folder, ref));
    await rm(join(this.#folder, ref), { force: true, recursive: true });
  }
}
