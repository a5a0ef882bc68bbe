import { ImgstoreError, isImgstoreError } from '../../../errors/index.ts';
import type { Monitor } from '../../progress.ts';
import type { Store } from '../../store.ts';
import { socketPath } from '../export-uri.ts';
import type { SessionCommit, SessionCommitRequest } from './commit-session.ts';
import { askServer } from './control/ask-server.ts';
import { type ControlRequest, controlSocket } from './control/messages.ts';
import type { ControlList } from './control/serve-control.ts';
import type { SessionState } from './session-state.ts';
import { Sessions } from './sessions.ts';

/** Where the sessions of a store are. */
export interface SessionsPlace {
  /** The socket that the server listens on; the store's own when not given. */
  readonly socket?: string | undefined;
  /** The folder of overlays, for when no server runs; the store's own when not given. */
  readonly overlays?: string | undefined;
}

/** Sessions, and who serves them. */
export interface ListedSessions {
  /** Process id of the server; undefined when none runs. */
  readonly server: number | undefined;
  readonly sessions: readonly SessionState[];
}

/** Lists the sessions of a store, by its server where one runs. @throws ImgstoreError `IO` */
export async function listSessions(
  store: Store,
  place: SessionsPlace,
  monitor: Monitor = {},
): Promise<ListedSessions> {
  const answer = await ask(store, place, { command: 'list' }, monitor);
  if (answer !== undefined) {
    const { pid, sessions } = answer.result as ControlList;
    return { server: pid, sessions };
  }
  const sessions = await withSessions(store, place, monitor, (all) => all.list());
  return { server: undefined, sessions };
}

/** Commits a session by the store's server, which goes on with it, or its overlay where none runs. @throws ImgstoreError as `Sessions.commit` */
export async function commitSessionOf(
  store: Store,
  place: SessionsPlace,
  { name, ...request }: SessionCommitRequest & { readonly name: string },
  monitor: Monitor = {},
): Promise<SessionCommit> {
  const answer = await ask(store, place, { command: 'commit', name, ...request }, monitor);
  if (answer !== undefined) return answer.result as SessionCommit;
  return withSessions(store, place, monitor, (all) => all.commit(name, request, monitor));
}

/** Throws away what was written in a session. @throws ImgstoreError as `Sessions.discard` */
export async function discardSession(
  store: Store,
  place: SessionsPlace,
  { name, force }: { readonly name: string; readonly force?: boolean | undefined },
  monitor: Monitor = {},
): Promise<void> {
  const answer = await ask(store, place, { command: 'discard', name, force }, monitor);
  if (answer === undefined)
    await withSessions(store, place, monitor, (all) => all.discard(name, { force: force ?? false }));
}

function ask(store: Store, place: SessionsPlace, request: ControlRequest, { signal }: Monitor) {
  return askServer(controlSocket(socketOf(store, place)), request, signal);
}

async function withSessions<T>(
  store: Store,
  place: SessionsPlace,
  { onNotice }: Monitor,
  work: (sessions: Sessions) => Promise<T>,
): Promise<T> {
  const sessions = await Sessions.open(store, { overlays: place.overlays, address: undefined, onNotice });
  try {
    return await work(sessions);
  } catch (error) {
    if (!isImgstoreError(error, 'IN_USE')) throw error;
    const message = `${error.message}; if a server has it, name the server's socket with --socket`;
    throw new ImgstoreError(error.code, message, error.data, error);
  } finally {
    await sessions.close();
  }
}

function socketOf(store: Store, { socket }: SessionsPlace): string {
  return socketPath(store, socket);
}
