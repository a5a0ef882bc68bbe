import { ImgstoreError } from '../../errors/index.ts';

/**
 * One step from an object to another (gitrevisions(7)): `~n` goes n first parents back, `^n` to the n-th parent (`^0` to the commit itself), `^{}` through tags,
 * `^{commit}` and `^{tree}` to an object of that kind, `@{n}` to where the ref was n moves ago.
 */
export type RevisionStep =
  | { readonly kind: 'ancestor'; readonly count: number }
  | { readonly kind: 'parent'; readonly number: number }
  | { readonly kind: 'peel'; readonly to: 'commit' | 'tree' | 'any' }
  | { readonly kind: 'reflog'; readonly back: number };

/** A revision taken apart: a name or id, and steps from there. */
export interface Revision {
  /** As written; `@` alone and nothing before `@{` mean `HEAD`. */
  readonly name: string;
  readonly steps: readonly RevisionStep[];
}

const STEP_PATTERN = /^(?:~([0-9]{0,9})|\^\{(commit|tree|)\}|\^([0-9]{0,9})|@\{([0-9]{1,9})\})/;

/** Takes a revision apart. @throws ImgstoreError `USAGE` saying what is wrong with it. */
export function parseRevision(text: string): Revision {
  const wrong = (reason: string) =>
    new ImgstoreError('USAGE', `'${text}' is not a revision: ${reason}`, { revision: text });
  if (text === '') throw wrong('it is empty');
  if (/^[~^]/.test(text)) throw wrong('it has no name: write HEAD or @ in front');
  const start = text.search(/[~^]|@\{/);
  let rest = start < 0 ? '' : text.slice(start);
  const name = start < 0 ? text : text.slice(0, start);
  const steps: RevisionStep[] = [];
  while (rest !== '') {
    const match = STEP_PATTERN.exec(rest);
    if (match === null) {
      throw wrong(`'${rest}' is not one of ~n, ^n, ^{commit}, ^{tree}, @{n}`);
    }
    const [whole, ancestor, peel, parent, back] = match;
    if (ancestor !== undefined)
      steps.push({ kind: 'ancestor', count: ancestor === '' ? 1 : Number(ancestor) });
    else if (peel !== undefined)
      steps.push({ kind: 'peel', to: peel === '' ? 'any' : (peel as 'commit' | 'tree') });
    else if (parent !== undefined) steps.push({ kind: 'parent', number: parent === '' ? 1 : Number(parent) });
    else if (steps.length > 0) throw wrong('@{n} must follow the name');
    else steps.push({ kind: 'reflog', back: Number(back) });
    rest = rest.slice(whole.length);
  }
  return { name: name === '' || name === '@' ? 'HEAD' : name, steps };
}
