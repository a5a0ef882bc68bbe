import { ImgstoreError } from '../../errors/index.ts';
import { isId, NULL_ID, type ObjectId } from '../../objects/index.ts';
import { type PackUpload, packName } from './names.ts';

const UPLOAD_PATTERN = /^[0-9a-f]{8}$/;

/** What kind of objects a pack of a bucket holds: clusters, or all that leads to them. A lazy clone takes `maps` whole and of `data` only what is read. */
export type PackKind = 'data' | 'maps';

/** A pack of a bucket. */
export interface RemotePack extends PackUpload {
  readonly kind: PackKind;
  /** Bytes of the pack. */
  readonly bytes: number;
  /** Bytes of its index. */
  readonly indexBytes: number;
  readonly objects: number;
}

/** A pack that no state lists any more, to be removed when nobody can still be reading it. */
export interface BuriedPack extends PackUpload {
  /** When it left the list: ISO 8601. */
  readonly at: string;
}

/** All that a bucket says at a moment: where its refs are, and which packs hold what they lead to. */
export interface RemoteContent {
  /** The branch that HEAD names. */
  readonly head: string | undefined;
  /** Full names and where they lead. */
  readonly refs: ReadonlyMap<string, ObjectId>;
  /** What annotated tags lead to, by their full names. */
  readonly peeled: ReadonlyMap<string, ObjectId>;
  /** By the packs' checksums. */
  readonly packs: ReadonlyMap<string, RemotePack>;
  /** By {@link packName}. */
  readonly buried: ReadonlyMap<string, BuriedPack>;
}

export interface RemoteRefMove {
  readonly name: string;
  /** {@link NULL_ID} removes the ref. */
  readonly id: ObjectId;
  /** Where the way from an annotated tag ends. */
  readonly peeled?: ObjectId | undefined;
}

/** A step from one content to the next. */
export interface RemoteChange {
  readonly head?: string | undefined;
  readonly refs: readonly RemoteRefMove[];
  readonly added: readonly RemotePack[];
  /** Packs that leave the list. */
  readonly buried: readonly BuriedPack[];
  /** Buried packs whose objects are gone from the bucket. */
  readonly gone: readonly PackUpload[];
}

/**
 * An object below `states/`: the content at a number, as a checkpoint and the changes since then, so that what a push writes does not grow with the store.
 */
export interface RemoteState {
  /** Counts from 1; the name says it too, so that a server cannot show one for another. */
  readonly number: number;
  /** SHA-256 of the checkpoint's bytes, which names it; undefined: nothing. */
  readonly checkpoint: string | undefined;
  readonly changes: readonly RemoteChange[];
  /** By chance, so that no two writers ever make the same bytes: who asks after a lost answer whether it was he who has made a state, is then told the truth. */
  readonly writer: string;
}

export const EMPTY_CONTENT: RemoteContent = {
  head: undefined,
  refs: new Map(),
  peeled: new Map(),
  packs: new Map(),
  buried: new Map(),
};

/** A content after a change. */
export function applyChange(content: RemoteContent, change: RemoteChange): RemoteContent {
  const refs = new Map(content.refs);
  const peeled = new Map(content.peeled);
  for (const { name, id, peeled: end } of change.refs) {
    if (id === NULL_ID) refs.delete(name);
    else refs.set(name, id);
    if (end === undefined) peeled.delete(name);
    else peeled.set(name, end);
  }
  const packs = new Map(content.packs);
  const buried = new Map(content.buried);
  for (const pack of change.added) packs.set(pack.pack, pack);
  for (const grave of change.buried) {
    // The same pack may have been sent anew and be listed by its new name.
    if (packs.get(grave.pack)?.upload === grave.upload) packs.delete(grave.pack);
    buried.set(packName(grave), grave);
  }
  for (const pack of change.gone) buried.delete(packName(pack));
  return { head: change.head ?? content.head, refs, peeled, packs, buried };
}

/** Bytes of an object below `states/`. */
export function encodeState({ number, checkpoint, changes, writer }: RemoteState): Buffer {
  const all = changes.map(({ head, refs, added, buried, gone }) => ({
    ...(head === undefined ? {} : { head }),
    ...(refs.length === 0 ? {} : { refs: Object.fromEntries(refs.map(({ name, id }) => [name, id])) }),
    ...peeledOf(refs.flatMap(({ name, peeled }) => (peeled === undefined ? [] : [[name, peeled] as const]))),
    ...(added.length === 0 ? {} : { added }),
    ...(buried.length === 0 ? {} : { buried }),
    ...(gone.length === 0 ? {} : { gone }),
  }));
  return toBytes({ number, writer, ...(checkpoint === undefined ? {} : { checkpoint }), changes: all });
}

/** @throws ImgstoreError `REMOTE_FAILED` naming `where` and what is wrong. */
export function parseState(bytes: Uint8Array, where: string): RemoteState {
  const parse = new Parser(where);
  const state = parse.object(bytes);
  const changes = parse.list(state.changes, 'changes').map((each) => {
    const change = parse.record(each, 'a change');
    return {
      head: change.head === undefined ? undefined : parse.text(change.head, 'head'),
      refs: withPeeled(parse.refs(change.refs ?? {}), parse.refs(change.peeled ?? {})),
      added: parse.packs(change.added ?? []),
      buried: parse.graves(change.buried ?? []),
      gone: parse.list(change.gone ?? [], 'gone').map((each) => parse.upload(parse.record(each, 'gone'))),
    };
  });
  return {
    number: parse.count(state.number, 'number'),
    writer: parse.text(state.writer, 'writer'),
    checkpoint: state.checkpoint === undefined ? undefined : parse.digest(state.checkpoint, 'checkpoint'),
    changes,
  };
}

/**
 * Bytes of an object below `checkpoints/`.
 * @param writer by chance: refs may go back to where they were, and a checkpoint that `gc` is about to remove must not get its name again
 */
export function encodeCheckpoint(
  { head, refs, peeled, packs, buried }: RemoteContent,
  writer: string,
): Buffer {
  return toBytes({
    writer,
    ...(head === undefined ? {} : { head }),
    refs: Object.fromEntries(refs),
    ...peeledOf([...peeled]),
    packs: [...packs.values()],
    buried: [...buried.values()],
  });
}

/** @throws ImgstoreError `REMOTE_FAILED` naming `where` and what is wrong. */
export function parseCheckpoint(bytes: Uint8Array, where: string): RemoteContent {
  const parse = new Parser(where);
  const content = parse.object(bytes);
  return {
    head: content.head === undefined ? undefined : parse.text(content.head, 'head'),
    refs: parse.refs(content.refs),
    peeled: parse.refs(content.peeled ?? {}),
    packs: new Map(parse.packs(content.packs).map((pack) => [pack.pack, pack])),
    buried: new Map(parse.graves(content.buried).map((grave) => [packName(grave), grave])),
  };
}

function peeledOf(entries: readonly (readonly [string, ObjectId])[]) {
  return entries.length === 0 ? {} : { peeled: Object.fromEntries(entries) };
}

function withPeeled(
  refs: ReadonlyMap<string, ObjectId>,
  peeled: ReadonlyMap<string, ObjectId>,
): RemoteRefMove[] {
  return [...refs].map(([name, id]) => {
    const end = peeled.get(name);
    return end === undefined ? { name, id } : { name, id, peeled: end };
  });
}

function toBytes(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

/** Looks at each field of what somebody else has written. */
class Parser {
  readonly #where: string;

  constructor(where: string) {
    this.#where = where;
  }

  object(bytes: Uint8Array): Record<string, unknown> {
    let value: unknown;
    try {
      value = JSON.parse(Buffer.from(bytes).toString('utf8'));
    } catch {
      throw this.#bad('is no JSON');
    }
    return this.record(value, 'the whole');
  }

  record(value: unknown, field: string): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.#bad(`${field} is no object`);
    return value as Record<string, unknown>;
  }

  list(value: unknown, field: string): readonly unknown[] {
    if (!Array.isArray(value)) throw this.#bad(`${field} is no list`);
    return value;
  }

  text(value: unknown, field: string): string {
    if (typeof value !== 'string' || value === '') throw this.#bad(`${field} is no text`);
    return value;
  }

  count(value: unknown, field: string): number {
    if (!Number.isSafeInteger(value) || (value as number) < 0) throw this.#bad(`${field} is no count`);
    return value as number;
  }

  digest(value: unknown, field: string): ObjectId {
    if (typeof value !== 'string' || !isId(value)) throw this.#bad(`${field} is no SHA-256`);
    return value;
  }

  refs(value: unknown): Map<string, ObjectId> {
    const entries = Object.entries(this.record(value, 'refs'));
    return new Map(entries.map(([name, id]) => [this.text(name, 'a ref'), this.digest(id, `ref ${name}`)]));
  }

  upload({ pack, upload }: Record<string, unknown>): PackUpload {
    if (typeof upload !== 'string' || !UPLOAD_PATTERN.test(upload))
      throw this.#bad('upload is no 8 hex digits');
    return { pack: this.digest(pack, 'pack'), upload };
  }

  packs(value: unknown): RemotePack[] {
    return this.list(value, 'packs').map((each) => {
      const pack = this.record(each, 'a pack');
      if (pack.kind !== 'data' && pack.kind !== 'maps')
        throw this.#bad(`a pack is of kind ${String(pack.kind)}`);
      return {
        ...this.upload(pack),
        kind: pack.kind,
        bytes: this.count(pack.bytes, 'bytes'),
        indexBytes: this.count(pack.indexBytes, 'indexBytes'),
        objects: this.count(pack.objects, 'objects'),
      };
    });
  }

  graves(value: unknown): BuriedPack[] {
    return this.list(value, 'buried').map((each) => {
      const grave = this.record(each, 'a buried pack');
      const at = this.text(grave.at, 'at');
      if (Number.isNaN(Date.parse(at))) throw this.#bad(`at is no time`);
      return { ...this.upload(grave), at };
    });
  }

  #bad(reason: string): ImgstoreError {
    return new ImgstoreError(
      'REMOTE_FAILED',
      `${this.#where}: ${reason}: the remote is damaged, or a newer imgstore made it`,
      { where: this.#where },
    );
  }
}
