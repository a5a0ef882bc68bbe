import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { ObjectType } from '../../objects/index.ts';

/** Nothing of the machine's own configuration, and the same names and dates every time. */
const ENVIRONMENT = {
  PATH: process.env.PATH,
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_AUTHOR_NAME: 'An Author',
  GIT_AUTHOR_EMAIL: 'author@example.org',
  GIT_AUTHOR_DATE: '1700000000 +0130',
  GIT_COMMITTER_NAME: 'A Committer',
  GIT_COMMITTER_EMAIL: 'committer@example.org',
  GIT_COMMITTER_DATE: '1700000001 -0800',
};

/** A bare repository in SHA-256 format that stock git works on: the oracle of what imgstore reads and writes. */
export class GitRepository {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** A new repository; it goes away with the test that asked for it. */
  static create(): GitRepository {
    const repository = new GitRepository(mkdtempSync(join(tmpdir(), 'imgstore-git-')));
    onTestFinished(() => rmSync(repository.folder, { recursive: true, force: true }));
    repository.git(['init', '--quiet', '--bare', '--object-format=sha256', '.']);
    return repository;
  }

  get objects(): string {
    return join(this.folder, 'objects');
  }

  get packs(): string {
    return join(this.folder, 'objects', 'pack');
  }

  /** Runs git and returns what it prints; throws what it says when it fails. */
  run(args: readonly string[], input: string | Uint8Array = ''): Buffer {
    const { status, stdout, stderr, error } = spawnSync('git', args, {
      cwd: this.folder,
      env: ENVIRONMENT,
      input,
      maxBuffer: 2 ** 28,
    });
    if (error !== undefined) throw error;
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr.toString()}`);
    return stdout;
  }

  /** As {@link GitRepository.run}, with the output as text without its last line end. */
  git(args: readonly string[], input: string | Uint8Array = ''): string {
    return this.run(args, input).toString('utf8').replace(/\n$/, '');
  }

  /** Stores an object and returns its id; git refuses data that is not valid for the type. */
  store(type: ObjectType, data: Uint8Array): string {
    return this.git(['hash-object', '-w', '--stdin', '-t', type], data);
  }

  /** The data of an object. */
  data(type: ObjectType, id: string): Buffer {
    return this.run(['cat-file', type, id]);
  }

  /** Fails unless git finds the whole repository in order. */
  fsck(): void {
    this.git(['fsck', '--full', '--strict', '--no-dangling']);
  }
}
