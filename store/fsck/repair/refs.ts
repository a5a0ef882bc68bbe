import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { counted } from '../../../errors/index.ts';
import { LockFile } from '../../../files/index.ts';
import { NULL_ID, type ObjectId, parseTag } from '../../../objects/index.ts';
import { currentPerson } from '../../person.ts';
import { BRANCHES, refNameFault, shortRefName, TAGS } from '../../refs/name.ts';
import { parseReflogLine } from '../../refs/reflog.ts';
import type { Store } from '../../store.ts';
import type { Examination } from '../examine.ts';
import type { DamagedRef } from '../report.ts';
import type { Aside } from './aside.ts';
import { foundRef, meantRefs } from './lost-refs.ts';
import { attempt } from './salvage-reader.ts';

const SHORT_DIGITS = 12;
const MESSAGE = 'fsck: put at the last that can be read';

/** Puts refs that cannot be read at the last version in their logs that can be read, or at the annotated tag of their name, and takes out of `packed-refs` and logs what says nothing. Returns what was done, one line each. */
export async function repairRefs(
  store: Store,
  examination: Examination,
  aside: Aside,
): Promise<readonly string[]> {
  return new RefRepair(store, examination, aside).run();
}

class RefRepair {
  readonly #store: Store;
  readonly #examination: Examination;
  readonly #aside: Aside;
  readonly #done: string[] = [];
  /** Refs with lines in their logs that lead nowhere. */
  readonly #logs = new Set<string>();

  constructor(store: Store, examination: Examination, aside: Aside) {
    this.#store = store;
    this.#examination = examination;
    this.#aside = aside;
  }

  async run(): Promise<readonly string[]> {
    const { refs, files } = this.#examination.report;
    const packed = files.filter(({ kind }) => kind === 'packed-refs');
    for (const ref of refs) if (!ref.isLog && ref.name !== 'HEAD') await this.#ref(ref);
    if (packed.length > 0) await this.#packedRefs(packed[0]!.path);
    for (const { name } of refs.filter(({ isLog }) => isLog)) this.#logs.add(name);
    for (const name of this.#logs) await this.#log(name);
    const head = refs.find((ref) => ref.name === 'HEAD' && !ref.isLog);
    if (head !== undefined) await this.#head(head);
    return this.#done;
  }

  async #ref({ name, where }: DamagedRef): Promise<void> {
    if (refNameFault(name) !== undefined) {
      const { id } = await this.#store.refs.follow(name);
      await this.#aside.move(where);
      this.#done.push(`${name}: has no name that a ref can have: set aside`);
      if (id !== undefined) await this.#keepFound(id);
      return;
    }
    const isTag = name.startsWith(TAGS);
    const id = isTag ? this.#tagNamed(shortRefName(name)) : await this.#lastReadable(name);
    if (id === undefined) return;
    await this.#aside.keep(join(this.#store.folder, name));
    await this.#put(
      name,
      id,
      isTag ? 'the annotated tag of its name' : 'the last version in its log that can be read',
    );
  }

  /** Gives a ref to what a ref without a name has led to, if no other leads there. */
  async #keepFound(id: ObjectId): Promise<void> {
    const { walk } = this.#examination;
    if (walk.isReached(id) || walk.finder.find(id)?.object === undefined) return;
    const { name, what } = foundRef(id);
    await this.#put(name, id, what);
  }

  /** Tags have no logs, but annotated ones say how they are called. The newest, where several do. */
  #tagNamed(name: string): ObjectId | undefined {
    const { inventory, walk } = this.#examination;
    let newest: { readonly id: ObjectId; readonly seconds: number } | undefined;
    for (const id of inventory.idsOfType('tag')) {
      const object = walk.finder.read(id);
      const tag = object === undefined ? undefined : attempt(() => parseTag(object.data));
      if (tag?.name !== name || walk.finder.find(tag.object)?.object === undefined) continue;
      const seconds = tag.tagger?.seconds ?? 0;
      if (newest === undefined || seconds > newest.seconds) newest = { id, seconds };
    }
    return newest?.id;
  }

  async #put(name: string, id: ObjectId, what: string): Promise<void> {
    if (await this.#isMended(name)) return;
    const person = currentPerson('committer', this.#store.config);
    await this.#store.refs.update({ name, before: undefined, after: id, person, message: MESSAGE });
    // The line of this move names where the ref was, which may be lost.
    if (!name.startsWith(TAGS)) this.#logs.add(name);
    this.#done.push(`${name}: put at ${id.slice(0, SHORT_DIGITS)}, ${what}`);
  }

  /** Whether somebody has put a ref somewhere since it was looked at. */
  async #isMended(name: string): Promise<boolean> {
    const { id, fault } = await this.#store.refs.follow(name);
    if (id === undefined || fault !== undefined) return false;
    const type = attempt(() => this.#store.objects.header(id).type);
    return name.startsWith(BRANCHES) ? type === 'commit' : type !== undefined;
  }

  /** Lines that are no refs go; a branch that was in one of them is known by its log. */
  async #packedRefs(path: string): Promise<void> {
    const lock = await LockFile.take('packed-refs', path, this.#store.rules);
    const damaged: string[] = [];
    try {
      const text = readFileSync(path, 'utf8');
      await this.#aside.keep(path);
      const valid = validPackedRefs(text, (line) => damaged.push(line));
      await lock.commit(Buffer.from(valid));
      this.#done.push(`${path}: lines that are no refs are taken out`);
    } finally {
      await lock.release();
    }
    for (const name of await this.#store.refs.logs.list('refs/heads')) {
      if (refNameFault(name) !== undefined) continue;
      const end = await this.#store.refs.follow(name);
      const id = end.id === undefined && end.fault === undefined ? await this.#lastReadable(name) : undefined;
      if (id !== undefined && (await this.#store.refs.findConflict(name)) === undefined)
        await this.#put(name, id, 'the last version in its log that can be read');
    }
    for (const { name, id, what } of meantRefs(damaged, this.#examination))
      if (await this.#isFree(name)) await this.#put(name, id, what);
  }

  async #isFree(name: string): Promise<boolean> {
    const { id, fault } = await this.#store.refs.follow(name);
    if (id !== undefined || fault !== undefined) return false;
    return (await this.#store.refs.findConflict(name)) === undefined;
  }

  async #log(name: string): Promise<void> {
    const path = join(this.#store.folder, 'logs', name);
    const lock = await LockFile.take('reflog', path, this.#store.rules);
    try {
      const lines = readFileSync(path, 'utf8')
        .split('\n')
        .filter((line) => line !== '');
      const kept = lines.filter((line) => this.#leadsSomewhere(line));
      if (kept.length === lines.length) return;
      await this.#aside.keep(path);
      await lock.commit(Buffer.from(kept.map((line) => `${line}\n`).join('')));
      this.#done.push(
        `${path}: ${counted(lines.length - kept.length, 'line that leads nowhere is', 'lines that lead nowhere are')} taken out`,
      );
    } finally {
      await lock.release();
    }
  }

  #leadsSomewhere(line: string): boolean {
    const { finder } = this.#examination.walk;
    const entry = parseReflogLine(line);
    if (entry === undefined) return false;
    return [entry.before, entry.after].every((id) => id === NULL_ID || finder.find(id)?.object !== undefined);
  }

  /** HEAD is the image that was committed last. */
  async #head({ where }: DamagedRef): Promise<void> {
    const branches = await this.#store.refs.list(BRANCHES);
    const last = (await this.#store.refs.logs.read('HEAD')).at(-1)?.after;
    const branch = branches.find(({ id }) => id === last) ?? branches[0];
    if (branch === undefined) return;
    await this.#aside.keep(where);
    await this.#store.refs.setSymbolic('HEAD', branch.name);
    this.#done.push(`HEAD: put on branch '${shortRefName(branch.name)}'`);
  }

  /** Also one of which a part is damaged: its other disks and clusters are there, and an image may bring the part back. */
  async #lastReadable(name: string): Promise<ObjectId | undefined> {
    const readable = new Set(this.#examination.walk.versions.map(({ id }) => id));
    const ids = (await this.#store.refs.logs.read(name)).flatMap(({ before, after }) => [before, after]);
    return ids.findLast((id) => id !== NULL_ID && readable.has(id));
  }
}

/** `packed-refs` without what is no ref; its first line, which says how the rest is ordered, goes too. @param onDamaged told of every other line that goes */
function validPackedRefs(text: string, onDamaged: (line: string) => void): string {
  const refs: { readonly name: string; readonly lines: string[] }[] = [];
  for (const line of text.split('\n')) {
    const [, name] = /^[0-9a-f]{64} (refs\/.+)$/.exec(line) ?? [];
    if (name !== undefined && refNameFault(name) === undefined) refs.push({ name, lines: [line] });
    else if (/^\^[0-9a-f]{64}$/.test(line)) refs.at(-1)?.lines.push(line);
    else if (line !== '' && !line.startsWith('# ')) onDamaged(line);
  }
  return refs.map(({ lines }) => `${lines.join('\n')}\n`).join('');
}
