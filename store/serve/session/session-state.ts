import type { ObjectId } from '../../../objects/index.ts';
import type { VersionDisk } from '../../version/version.ts';
import { parseExportName } from '../export-uri.ts';
import type { SessionPlaces } from './names.ts';
import { bytesOnDisk, type Session } from './session.ts';

/** One session, as plain data that survives JSON. */
export interface SessionState {
  readonly name: string;
  readonly branch: string;
  /** The version that the overlay stands on, and its disk. */
  readonly base: ObjectId;
  readonly disk: string;
  /** The version that was committed last; the base when there is none. */
  readonly last: ObjectId;
  readonly overlay: string;
  /** Bytes that the overlay takes on its disk. */
  readonly overlayBytes: number;
  /** Bytes of clusters that were written since the last commit; undefined while no server has it open. */
  readonly changedBytes: number | undefined;
  /** Clients; undefined while no server has it open. */
  readonly connections: number | undefined;
}

/** Of a session that is open. @throws ImgstoreError `IO` */
export async function stateOf(session: Session): Promise<SessionState> {
  const { name, branch, base, last, disk, places, connections } = session;
  return {
    name,
    branch,
    base: base.version,
    disk: base.name,
    last,
    overlay: places.overlay,
    overlayBytes: await session.overlayBytes(),
    changedBytes: disk.changedBytes,
    connections,
  };
}

/** What is told of a session that nobody has open. */
export interface LeftSession {
  readonly name: string;
  readonly places: SessionPlaces;
  readonly base: VersionDisk;
  /** The version that was committed last. */
  readonly last: ObjectId;
}

/** Of an overlay that was left. @throws ImgstoreError `IO`, `NOT_FOUND` */
export async function stateOfFile({ name, places, base, last }: LeftSession): Promise<SessionState> {
  return {
    name,
    branch: parseExportName(name).revision,
    base: base.version,
    disk: base.name,
    last,
    overlay: places.overlay,
    overlayBytes: await bytesOnDisk(places.overlay),
    changedBytes: undefined,
    connections: undefined,
  };
}
