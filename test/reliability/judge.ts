import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { git, tryGit } from '../store/git.ts';
import { type FolderNode, filesOf, readTree, treeDigest, writeTree } from './file-tree.ts';
import { changedVersions } from './known-versions.ts';
import { type Ending, runHere } from './run-here.ts';
import type { SampleHistory } from './sample-history.ts';
import { type Course, differences, situationOf, strangeness, UNFINISHED } from './situation.ts';
import type { WritingVerb } from './verbs.ts';

/** What a fault has left, to be judged. */
export interface Remains {
  readonly tree: FolderNode;
  /** For messages: the fault, and where it struck. */
  readonly name: string;
  /** The process could not clean up: temporary files and locks may be left. */
  readonly killed?: boolean;
  /** The power has failed: files beside the store, which are not fsynced, may be lost. */
  readonly powerFailed?: boolean;
  /** The verb had succeeded. */
  readonly done?: boolean;
  /** The verb is not run again, to save time. */
  readonly once?: boolean;
}

/** Judges what faults in one verb have left: by git, by reading every version, and by running the verb again. */
export class Judge {
  readonly #verb: WritingVerb;
  readonly #scratch: string;
  /** Digests of the versions that the verb leaves in the store, by id. */
  readonly #versions: ReadonlyMap<string, string>;
  readonly #course: Course;
  /** Equal remains are judged once. */
  readonly #known = new Set<string>();
  /** So are equal ends of running the verb again. */
  readonly #ends = new Set<string>();

  private constructor(
    verb: WritingVerb,
    scratch: string,
    versions: ReadonlyMap<string, string>,
    course: Course,
  ) {
    this.#verb = verb;
    this.#scratch = scratch;
    this.#versions = versions;
    this.#course = course;
  }

  /** Runs the verb without a fault, to know what it does. @param scratch a folder to try things in */
  static async create(verb: WritingVerb, { tree, digests }: SampleHistory, scratch: string): Promise<Judge> {
    place(scratch, tree);
    const { changes } = verb;
    const before = await situationOf(scratch, tree, changes);
    const { status, stderr } = await runHere(scratch, ...verb.args);
    if (status !== 0) throw new Error(`${verb.name}: ${stderr}`);
    const after = await situationOf(scratch, readTree(scratch), changes);
    const store = join(scratch, '.imgstore');
    const isLeft = (id: string) => tryGit(store, 'cat-file', '-e', id) !== undefined;
    const versions = new Map([...digests].filter(([id]) => isLeft(id)));
    const between = new Set(verb.goesInSteps ? (await git(store, 'rev-list', '--branches')).split('\n') : []);
    return new Judge(verb, scratch, versions, { before, after, between, changes });
  }

  /** Says what is wrong with what a fault has left. */
  async complaints(remains: Remains): Promise<string[]> {
    const { tree, name, killed = false, powerFailed = false, done = false, once = false } = remains;
    const key = `${treeDigest(tree)} ${killed} ${powerFailed} ${done}`;
    if (this.#known.has(key)) return [];
    this.#known.add(key);
    place(this.#scratch, tree);
    const complaints: string[] = [];
    try {
      if (!killed) complaints.push(...leftovers(tree));
      const now = await situationOf(this.#scratch, tree, this.#verb.changes);
      complaints.push(...(await this.#changed(powerFailed)));
      if (done)
        complaints.push(
          ...differences(powerFailed ? { ...now, files: this.#course.after.files } : now, this.#course.after),
        );
      else complaints.push(...strangeness(now, this.#course, powerFailed));
      if (complaints.length === 0 && !once) complaints.push(...(await this.#again(killed, powerFailed)));
    } catch (error) {
      complaints.push(String(error));
    }
    return complaints.map((text) => `${this.#verb.name}, ${name}: ${text}`);
  }

  /** What a user does with files that a failure of the power has left partial. */
  async #removePartialFiles(): Promise<void> {
    const { files } = await situationOf(this.#scratch, readTree(this.#scratch), this.#verb.changes);
    for (const [path, digest] of files)
      if (digest !== this.#course.before.files.get(path) && digest !== this.#course.after.files.get(path))
        rmSync(join(this.#scratch, path));
  }

  /** After a failure of the power an index may be there again whose pack was removed. */
  #changed(powerFailed: boolean): Promise<string[]> {
    return changedVersions(
      this.#scratch,
      this.#versions,
      powerFailed ? /\.idx: has no pack beside it: / : undefined,
    );
  }

  /** What goes wrong when the verb is run again, which must bring about what it was to bring about. */
  async #again(killed: boolean, powerFailed: boolean): Promise<string[]> {
    if (powerFailed) await this.#removePartialFiles();
    const { args, otherwise = [] } = this.#verb;
    const ways = [args, ...otherwise];
    let last: Ending | undefined;
    for (const way of ways) {
      last = await runHere(this.#scratch, ...way);
      if (
        last.status === 1 &&
        (last.stderr.includes('pass --force') || (powerFailed && last.stderr.includes('exists already')))
      )
        last = await runHere(this.#scratch, ...way, '--force');
      if (last.status === 0) break;
    }
    const tree = readTree(this.#scratch);
    const key = `${treeDigest(tree)} ${killed} ${powerFailed}`;
    if (this.#ends.has(key)) return [];
    this.#ends.add(key);
    const complaints = differences(
      await situationOf(this.#scratch, tree, this.#verb.changes),
      this.#course.after,
    ).filter(
      // A kill within a renaming may leave the name that stands in.
      (line) => !(killed && /^unexpected refs\/heads\/\S+-renamed /.test(line)),
    );
    complaints.push(...(await this.#changed(powerFailed)));
    if (!killed) complaints.push(...leftovers(tree));
    return complaints.map((text) => `again: ${text} (exit code ${last?.status}: ${last?.stderr.trim()})`);
  }
}

function place(folder: string, tree: FolderNode): void {
  rmSync(folder, { recursive: true, force: true });
  writeTree(folder, tree);
}

function leftovers(tree: FolderNode): string[] {
  return [...filesOf(tree)].filter(([path]) => UNFINISHED.test(path)).map(([path]) => `${path} is left`);
}
