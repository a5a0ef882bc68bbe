import type { ImgstoreError } from '../../errors/index.ts';
import { NULL_ID, type ObjectId } from '../../objects/index.ts';
import {
  type GitOutcome,
  type GitProgress,
  gitFailure,
  isAtTerminal,
  parseGitRefs,
  parsePushReport,
  runGit,
} from '../../remote/index.ts';
import { lazyRemote } from '../config/format.ts';
import type { Monitor } from '../progress.ts';
import type { Store } from '../store.ts';
import { Quarantine } from './quarantine.ts';
import { keepShared } from './shared-refs.ts';
import type {
  PushSummary,
  RemoteRefs,
  RemoteTransport,
  RemoteUpdate,
  RemoteUpdateResult,
  TransferOptions,
  TransferSummary,
} from './transport.ts';
import { isLocal, withoutCredentials } from './url.ts';

/** How a git server says that not all has come that refs lead to. */
const INCOMPLETE = /unpacker error|missing necessary objects/;

/** Refs of one push: they go to git as arguments, for which a system has some 2 MB. */
const MOST_UPDATES = 2000;

/** Deltas that may lead to an object in what is sent: git's own limit, so that all that is there is kept. */
const PACK_DEPTH = 4095;

/** The sender takes the deltas that it has, and looks for no others: by name and size it would find few, and take minutes. */
const KEEP_DELTAS = [`pack.window=0`, `pack.depth=${PACK_DEPTH}`];

/** A remote that the installed git goes to: `ssh://`, `host:path`, `https://`, `file://` or a path. */
export class GitTransport implements RemoteTransport {
  readonly where: string;
  readonly mayPrompt: boolean;
  readonly #store: Store;
  readonly #url: string;

  constructor(store: Store, url: string) {
    this.#store = store;
    this.#url = url;
    this.where = withoutCredentials(url);
    this.mayPrompt = !isLocal(url) && isAtTerminal();
  }

  async refs(options: TransferOptions = {}): Promise<RemoteRefs> {
    const outcome = await this.#run(['ls-remote', '--symref', ...this.#serverProgram(), this.#url], options);
    if (outcome.exitCode !== 0) throw this.#failure(outcome);
    const { refs, peeled, head } = parseGitRefs(this.where, outcome.stdout);
    return keepShared({ refs, peeled, head });
  }

  async fetch(wanted: readonly ObjectId[], options: TransferOptions = {}): Promise<TransferSummary> {
    if (wanted.length === 0) return { objects: 0, bytes: 0 };
    const quarantine = await Quarantine.make(this.#store);
    try {
      const args = [
        'fetch',
        '--no-write-fetch-head',
        '--no-auto-maintenance',
        '--no-recurse-submodules',
        '--no-tags',
        '--no-show-forced-updates',
        '--refmap=',
        '--progress',
        '--stdin',
        ...this.#serverProgram(),
        this.#url,
      ];
      const outcome = await this.#run(args, options, {
        input: wanted.map((id) => `${id}\n`).join(''),
        environment: quarantine.environment,
      });
      if (outcome.exitCode !== 0) throw this.#failure(outcome);
      await quarantine.install();
      return summary(outcome);
    } finally {
      await quarantine.remove();
    }
  }

  async push(updates: readonly RemoteUpdate[], options: TransferOptions = {}): Promise<PushSummary> {
    const all = { objects: 0, bytes: 0, results: [] as RemoteUpdateResult[] };
    for (let at = 0; at < updates.length; at += MOST_UPDATES) {
      const some = updates.slice(at, at + MOST_UPDATES);
      const { results, objects, bytes } = await this.#pushSome(some, options);
      all.results.push(...results);
      all.objects += objects;
      all.bytes += bytes;
    }
    return all;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #pushSome(updates: readonly RemoteUpdate[], options: TransferOptions) {
    const outcome = await this.#runPush(updates, options, true);
    const noAtomic = outcome.lines.some((line) => /does not support --atomic/.test(line));
    const last = noAtomic ? await this.#runPush(updates, options, false) : outcome;
    const report = new Map(parsePushReport(last.stdout, last.lines).map((ref) => [ref.name, ref]));
    // Without a word on any ref it failed as a whole.
    if (report.size === 0 && last.exitCode !== 0) throw this.#failure(last);
    const results = updates.map(({ name }) => {
      const { fault, moved } = report.get(name) ?? { fault: 'git says nothing of it', moved: false };
      return { name, fault: this.#explained(fault), moved };
    });
    return { ...summary(last), results };
  }

  /** What the remote finds fault with may be what is not here. */
  #explained(fault: string | undefined): string | undefined {
    const isIncomplete = fault !== undefined && INCOMPLETE.test(fault);
    if (!isIncomplete || lazyRemote(this.#store.config) === undefined) return fault;
    return `${fault}: a lazy clone has not all that git would send: push from a whole clone`;
  }

  /** The comparison with where a ref was is the remote's own (`--force-with-lease`), made under its lock. */
  #runPush(updates: readonly RemoteUpdate[], options: TransferOptions, atomic: boolean): Promise<GitOutcome> {
    const leases = updates.map(
      ({ name, before }) => `--force-with-lease=${name}:${before === NULL_ID ? '' : before}`,
    );
    const specs = updates.map(({ name, after }) => `${after === NULL_ID ? '' : after}:${name}`);
    const args = [
      'push',
      '--porcelain',
      '--progress',
      '--no-verify',
      '--no-follow-tags',
      '--no-recurse-submodules',
      ...(atomic ? ['--atomic'] : []),
      ...leases,
      this.#url,
      ...specs,
    ];
    return this.#run(args, options);
  }

  /** For a repository on this machine: what its own settings say would have git look for deltas there. */
  #serverProgram(): string[] {
    if (!isLocal(this.#url)) return [];
    return [`--upload-pack=git ${KEEP_DELTAS.map((each) => `-c ${each}`).join(' ')} upload-pack`];
  }

  async #run(
    args: readonly string[],
    { signal, onProgress, onNotice }: Monitor,
    more: { readonly input?: string; readonly environment?: NodeJS.ProcessEnv } = {},
  ): Promise<GitOutcome> {
    const outcome = await runGit({
      gitDir: this.#store.folder,
      settings: [...KEEP_DELTAS, ...this.#settings()],
      args,
      signal,
      onProgress: onProgress && ((progress) => onProgress(asBytes(progress))),
      onRemoteMessage: onNotice,
      ...more,
    });
    return { ...outcome, lines: outcome.lines.map((line) => line.replaceAll(this.#url, this.where)) };
  }

  #settings(): string[] {
    const { compression } = this.#store;
    return [
      // What lies in packs goes as it is; only loose objects are deflated again.
      `core.compression=${compression}`,
      `pack.compression=${compression}`,
      'pack.indexVersion=2',
      'gc.auto=0',
      // Hooks of the store are not run, so that all kinds of remotes do the same; the remote's own are.
      'core.hooksPath=/dev/null',
      'fetch.unpackLimit=1',
      'fetch.fsckObjects=true',
      'fetch.writeCommitGraph=false',
      'transfer.bundleURI=false',
    ];
  }

  #failure({ lines, exit }: GitOutcome): ImgstoreError {
    return gitFailure(this.where, lines, exit);
  }
}

function summary({ progress }: GitOutcome): TransferSummary {
  return { objects: progress?.objects ?? 0, bytes: progress?.bytes ?? 0 };
}

/** git counts objects beforehand, not bytes: those that are still to come are taken to be like those that went. */
function asBytes({ objects, allObjects, bytes }: GitProgress) {
  return { done: bytes, total: objects === 0 ? bytes : Math.round((bytes / objects) * allObjects) };
}
