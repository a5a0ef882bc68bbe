import { ImgstoreError } from '../errors/index.ts';
import { type CheckoutResult, checkoutLazily, type Monitor, type Store } from '../store/index.ts';
import { takeStarted } from './early-server.ts';
import { thisProgram } from './this-program.ts';

/** Options of `checkout` that mean something with `--backing nbd`. */
interface LazyOptions {
  readonly output?: string;
  readonly disk?: string;
  readonly force?: boolean;
  readonly socket?: string;
  readonly serve: boolean;
}

/** Those that do not, by their keys. */
const SENSELESS = {
  depth: '--depth',
  compress: '--compress',
  track: '--track',
  all: '--all',
  allowBacking: '--allow-backing',
  skipDamaged: '--skip-damaged',
} as const;

/** `imgstore checkout --backing nbd`. @throws ImgstoreError `USAGE` */
export function checkOutLazily(
  store: Store,
  revision: string,
  options: LazyOptions,
  monitor: Monitor,
): Promise<CheckoutResult> {
  const { output, disk, force, socket, serve } = options;
  const server = serve ? { command: thisProgram(), started: takeStarted } : undefined;
  return checkoutLazily(store, { revision, output, disk, force, socket, server }, monitor);
}

/** @throws ImgstoreError `USAGE` for options that make no sense with `--backing nbd`, or only with it */
export function refuseSenseless(isLazy: boolean, options: LazyOptions): void {
  if (!isLazy) {
    const given = options.socket === undefined ? (options.serve ? undefined : '--no-serve') : '--socket';
    if (given !== undefined) throw new ImgstoreError('USAGE', `${given} is for --backing nbd`);
    return;
  }
  const given = new Map<string, unknown>(Object.entries(options));
  const found = Object.entries(SENSELESS).find(([key]) => given.has(key));
  if (found !== undefined)
    throw new ImgstoreError('USAGE', `${found[1]}: has no meaning with --backing nbd: leave one of them out`);
  if (given.get('format') === 'raw')
    throw new ImgstoreError('USAGE', 'a raw file has no backing file: use --format qcow2');
}
