import type { Dirent } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromSystem, systemCode } from '../../errors/index.ts';
import { isId, NULL_ID, type ObjectId, type ObjectType } from '../../objects/index.ts';
import { BRANCHES, refNameFault } from '../refs/name.ts';
import { RefFiles } from '../refs/ref-files.ts';
import { parseReflogLine } from '../refs/reflog.ts';
import type { Store } from '../store.ts';
import { type DamagedFile, type DamagedRef, withoutPlace } from './report.ts';

/** What keeps an object: a ref, or a line of a reflog. */
export interface Root {
  readonly id: ObjectId;
  /** Full name of the ref. */
  readonly name: string;
  /** The file, with the line where there are several. */
  readonly where: string;
  /** Undefined for any. */
  readonly kind: ObjectType | undefined;
  readonly isLog: boolean;
}

/** All refs and reflogs, as far as they can be read. */
export interface Roots {
  readonly roots: readonly Root[];
  readonly damaged: readonly DamagedRef[];
  readonly files: readonly DamagedFile[];
  readonly notices: readonly string[];
}

/** Characters of a damaged line that a message shows. */
const MOST_SHOWN = 80;

/** Locks, and what is being written: of a process that is at work, or was killed. */
const UNFINISHED = /^\.tmp_|\.lock$/;

/** What a first line that is no ref begins with. */
const PACKED_HEAD = '# pack-refs with:';

/** Reads all refs and reflogs. @throws ImgstoreError `IO` */
export async function readRoots(store: Store): Promise<Roots> {
  return new RootReader(store).read();
}

class RootReader {
  readonly #files: RefFiles;
  readonly #folder: string;
  readonly #roots: Root[] = [];
  readonly #damaged: DamagedRef[] = [];
  readonly #damagedFiles: DamagedFile[] = [];
  readonly #notices: string[] = [];

  constructor({ folder, rules }: Store) {
    this.#folder = folder;
    this.#files = new RefFiles(folder, rules);
  }

  async read(): Promise<Roots> {
    await this.#head();
    // Files first: a ref that another process packs meanwhile is then seen twice, and never not at all.
    const names = await filesBelow(this.#folder, 'refs');
    for (const name of names) await this.#ref(name);
    await this.#packed(new Set(names));
    for (const path of await filesBelow(this.#folder, 'logs')) await this.#log(path);
    return {
      roots: this.#roots,
      damaged: this.#damaged,
      files: this.#damagedFiles,
      notices: this.#notices,
    };
  }

  async #head(): Promise<void> {
    const end = await this.#files.follow('HEAD');
    const where = this.#files.path('HEAD');
    const target = end.symbolic.length > 0 ? end.name : undefined;
    if (end.fault !== undefined && end.symbolic.length === 0) {
      this.#damaged.push({
        name: 'HEAD',
        where,
        isLog: false,
        id: undefined,
        reason: withoutPlace(end.fault.message, where),
      });
    } else if (target !== undefined && !target.startsWith(BRANCHES)) {
      const reason = `leads to '${target}', which is no branch`;
      this.#damaged.push({ name: 'HEAD', where, isLog: false, id: end.id, reason });
    } else if (target === undefined && end.id !== undefined) {
      this.#roots.push({ id: end.id, name: 'HEAD', where, kind: 'commit', isLog: false });
    }
  }

  async #ref(name: string): Promise<void> {
    const where = this.#files.path(name);
    const bad = (reason: string, id?: ObjectId) =>
      this.#damaged.push({ name, where, isLog: false, id, reason });
    const fault = refNameFault(name);
    if (fault !== undefined) {
      bad(`has a name that git forbids: it ${fault}`);
      return;
    }
    const { id, symbolic, name: target, fault: unreadable } = await this.#files.follow(name);
    if (unreadable !== undefined) bad(withoutPlace(unreadable.message, where));
    else if (id !== undefined)
      this.#roots.push({
        id,
        name,
        where,
        kind: name.startsWith(BRANCHES) ? 'commit' : undefined,
        isLog: false,
      });
    // `refs/remotes/origin/HEAD` names the remote's branch, whether it was fetched or not.
    else if (symbolic.length > 0 && !name.endsWith('/HEAD'))
      bad(`leads to '${target}', which does not exist`);
  }

  async #packed(loose: ReadonlySet<string>): Promise<void> {
    const path = this.#files.path('packed-refs');
    const text = await readIfThere(path);
    if (text === undefined) return;
    const bad = (line: number, reason: string) =>
      this.#damagedFiles.push({ path, kind: 'packed-refs', reason: `line ${line + 1}: ${reason}` });
    if (text !== '' && !text.endsWith('\n')) bad(text.split('\n').length - 1, 'is cut off');
    let before = '';
    let isSorted = false;
    for (const [i, line] of text.split('\n').entries()) {
      if (line === '') continue;
      if (i === 0 && line.startsWith(PACKED_HEAD)) {
        isSorted = line.split(' ').includes('sorted');
        continue;
      }
      const [id, name] = [line.slice(0, 64), line.slice(65)];
      const isPeeled = line.startsWith('^');
      if (isPeeled && isId(line.slice(1)) && before !== '') continue;
      const fault = isPeeled || !isId(id) || line[64] !== ' ' ? 'is no packed ref' : nameFault(name);
      if (fault !== undefined) {
        bad(i, `'${shown(line)}' ${fault}`);
        continue;
      }
      // Compared as bytes: git looks names up by bisection.
      if (isSorted && Buffer.compare(Buffer.from(name), Buffer.from(before)) <= 0)
        bad(i, `'${shown(name)}' is out of order, so that git does not find it`);
      before = name;
      const kind = name.startsWith(BRANCHES) ? 'commit' : undefined;
      if (!loose.has(name)) this.#roots.push({ id, name, where: `${path}:${i + 1}`, kind, isLog: false });
    }
  }

  async #log(path: string): Promise<void> {
    const text = await readIfThere(join(this.#folder, path));
    const name = path.slice('logs/'.length);
    for (const [i, line] of (text ?? '').split('\n').entries()) {
      if (line === '') continue;
      const where = `${join(this.#folder, path)}:${i + 1}`;
      const entry = parseReflogLine(line);
      if (entry !== undefined) {
        for (const id of [entry.before, entry.after])
          if (id !== NULL_ID) this.#roots.push({ id, name, where, kind: undefined, isLog: true });
      } else if (isCutOff(line)) {
        this.#notices.push(
          `${where}: is cut off: a process was stopped while it wrote; nothing reads the line`,
        );
      } else {
        this.#damaged.push({
          name,
          where,
          isLog: true,
          id: undefined,
          reason: `'${shown(line)}' is no line of a reflog`,
        });
      }
    }
  }
}

/** Whether a line is the beginning of one, as a kill or a full disk leaves it. */
function isCutOff(line: string): boolean {
  return /^[0-9a-f]{0,64}$|^[0-9a-f]{64} [0-9a-f]{0,64}$|^[0-9a-f]{64} [0-9a-f]{64} [^<>\t]*(<[^<>\t]*(> ?(-?\d* ?([+-]\d{0,4})?)?)?)?$/.test(
    line,
  );
}

function nameFault(name: string): string | undefined {
  const fault = name.startsWith('refs/') ? refNameFault(name) : "does not begin with 'refs/'";
  return fault === undefined ? undefined : `has a name that git forbids: it ${fault}`;
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, MOST_SHOWN)).slice(1, -1);
}

/** Paths of all files below a folder of the store. */
async function filesBelow(root: string, folder: string): Promise<string[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(join(root, folder), { withFileTypes: true });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return [];
    throw fromSystem(error, join(root, folder));
  }
  const paths: string[] = [];
  for (const entry of entries) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) paths.push(...(await filesBelow(root, path)));
    else if (!UNFINISHED.test(entry.name)) paths.push(path);
  }
  return paths.sort();
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR'].includes(systemCode(error) ?? '')) return undefined;
    throw fromSystem(error, path);
  }
}
