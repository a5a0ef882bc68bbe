import { Command } from 'commander';
import { isImgstoreError } from '../errors/index.ts';
import { type StartingServer, startServerEarly } from '../store/index.ts';
import { thisProgram } from './this-program.ts';

let started: StartingServer | undefined;

/**
 * Starts the server of `checkout --backing nbd` before the verb is loaded.
 * @param store as it was named
 * @returns ends a server that nobody came to need
 */
export async function startEarly(argv: readonly string[], store: string | undefined): Promise<() => void> {
  // What else there is, and whether all of it makes sense, the verb finds out.
  const parser = new Command().allowUnknownOption().helpOption('-h, --help');
  parser.option('--backing <what>').option('--socket <path>').option('--no-serve');
  parser.parseOptions([...argv]);
  const { backing, socket, serve } = parser.opts<{ backing?: string; socket?: string; serve: boolean }>();
  if (backing === 'nbd' && serve && !argv.some((text) => text === '-h' || text === '--help')) {
    try {
      started = await startServerEarly({ store, socket }, thisProgram());
    } catch (error) {
      // It is said when the store is opened, or the server needed.
      if (!isImgstoreError(error) && !(error instanceof Error && 'code' in error)) throw error;
    }
  }
  return () => takeStarted()?.stop();
}

/** Gives over the server that was started. */
export function takeStarted(): StartingServer | undefined {
  const server = started;
  started = undefined;
  return server;
}
