import type { NbdServer } from '../../../nbd/index.ts';
import type { Store } from '../../store.ts';
import { controlSocket } from './control/messages.ts';
import { type ControlServer, serveControl } from './control/serve-control.ts';
import { Sessions, type SessionsOptions } from './sessions.ts';

/** What lets branches be written to. */
export interface Writing {
  readonly sessions: Sessions;
  readonly control: ControlServer;
}

/**
 * The sessions of a server, and who controls them.
 * @param socket that the server listens on, or would if it did not listen on a port
 * @throws ImgstoreError `IN_USE`, `EXISTS`, `IO`
 */
export async function openSessions(
  store: Store,
  server: NbdServer,
  socket: string,
  options: Omit<SessionsOptions, 'address'>,
): Promise<Writing> {
  const sessions = await Sessions.open(store, { ...options, address: server.address });
  return { sessions, control: await serveControl(server, sessions, controlSocket(socket)) };
}
