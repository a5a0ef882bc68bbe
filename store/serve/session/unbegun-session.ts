import type { BlockSource } from '../../../block/index.ts';
import type { NbdExport } from '../../../nbd/index.ts';
import type { VersionDisk } from '../../version/version.ts';
import type { OverlayDisk } from './overlay-disk.ts';
import type { Session } from './session.ts';
import { SessionExport, type SharedDisk } from './session-export.ts';

/** What a session begins with. */
export interface UnbegunParts {
  readonly name: string;
  readonly base: VersionDisk;
  /** Shows the base. */
  readonly source: BlockSource;
  /** Makes the session, with its overlay; tried again after a failure. */
  readonly begin: () => Promise<Session>;
  /** Called when there are no clients any more, or when the session has begun. */
  readonly onEnd: () => void;
}

/**
 * A branch that clients have open and nobody has written to: they read the version that was its last when the first of them came. What is written first begins the session, and all of
 * them have that then.
 */
export class UnbegunSession implements SharedDisk {
  readonly name: string;
  readonly base: VersionDisk;
  readonly #parts: UnbegunParts;
  #clients = 0;
  #session: Session | undefined;
  #beginning: Promise<Session> | undefined;

  constructor(parts: UnbegunParts) {
    this.name = parts.name;
    this.base = parts.base;
    this.#parts = parts;
  }

  get shown(): BlockSource {
    return this.#session?.disk ?? this.#parts.source;
  }

  get written(): OverlayDisk | undefined {
    return this.#session?.disk;
  }

  async toWrite(): Promise<OverlayDisk> {
    if (this.#session !== undefined) return this.#session.disk;
    this.#beginning ??= this.#begin();
    return (await this.#beginning).disk;
  }

  /** The disk for one more connection. */
  open(): NbdExport {
    this.#clients++;
    return new SessionExport(this, () => this.#leave());
  }

  async #begin(): Promise<Session> {
    try {
      const session = await this.#parts.begin();
      for (let client = 0; client < this.#clients; client++) session.join();
      this.#session = session;
      this.#parts.onEnd();
      return session;
    } finally {
      this.#beginning = undefined;
    }
  }

  #leave(): void {
    this.#clients--;
    if (this.#session !== undefined) this.#session.leave();
    else if (this.#clients === 0) this.#parts.onEnd();
  }
}
