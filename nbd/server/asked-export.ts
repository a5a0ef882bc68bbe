import { isImgstoreError } from '../../errors/index.ts';
import { OptionError } from '../protocol/constants.ts';
import type { NbdExport, NbdExports } from './export.ts';
import { OptionRefusal } from './option-refusal.ts';

/** Errors of opening an export that another name would not have. */
const CLIENTS_FAULTS: ReadonlySet<string> = new Set(['USAGE', 'BAD_NAME', 'AMBIGUOUS', 'FORBIDDEN']);

interface NamedExport {
  readonly name: string;
  readonly disk: NbdExport;
}

/** The export that a client asks about, which stays open for its next option: clients ask about an export before they choose it. */
export class AskedExport {
  readonly #exports: NbdExports;
  readonly #onNotice: (line: string) => void;
  #opened: NamedExport | undefined;

  constructor(exports: NbdExports, onNotice: (line: string) => void) {
    this.#exports = exports;
    this.#onNotice = onNotice;
  }

  /** Opens an export, or takes the one that is open. @throws OptionRefusal when there is none of that name; what opening it throws */
  async open(name: string): Promise<NbdExport> {
    if (this.#opened?.name === name) return this.#opened.disk;
    await this.release();
    const disk = await this.#openNew(name);
    if (disk === undefined)
      throw new OptionRefusal(OptionError.unknown, `there is no export ${JSON.stringify(name)}`);
    this.#opened = { name, disk };
    return disk;
  }

  /** Hands on the export that is open: who takes it releases it. */
  take(): NamedExport {
    const opened = this.#opened!;
    this.#opened = undefined;
    return opened;
  }

  async release(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    await opened?.disk.release();
  }

  /** What a client has asked for wrongly is said to it alone; what is wrong here, to the operator too. */
  async #openNew(name: string): Promise<NbdExport | undefined> {
    try {
      return await this.#exports.open(name);
    } catch (error) {
      if (isImgstoreError(error) && !CLIENTS_FAULTS.has(error.code))
        this.#onNotice(`export ${JSON.stringify(name)} cannot be opened: ${error.message}`);
      throw error;
    }
  }
}
