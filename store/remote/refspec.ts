import { ImgstoreError } from '../../errors/index.ts';
import { refNameFault } from '../refs/name.ts';

/** git's refspec (git-fetch(1), "<refspec>"): which ref becomes which. Each side may have one `*`, for whatever stands there in the other. */
export interface Refspec {
  /** `+`: also where that takes versions away from a branch. */
  readonly force: boolean;
  /** `^`: what it matches is left out of what others match. */
  readonly negative: boolean;
  /** Empty for a removal (`:branch`). */
  readonly source: string;
  /** Undefined when there is no `:`. */
  readonly destination: string | undefined;
}

/** Takes a refspec apart. @throws ImgstoreError `USAGE` saying what is wrong with it. */
export function parseRefspec(text: string): Refspec {
  const wrong = (reason: string) =>
    new ImgstoreError('USAGE', `'${text}' is not a refspec: ${reason}`, { refspec: text });
  const sign = /^[+^]/.exec(text)?.[0];
  const rest = text.slice(sign === undefined ? 0 : 1);
  const colon = rest.lastIndexOf(':');
  const source = colon < 0 ? rest : rest.slice(0, colon);
  const destination = colon < 0 ? undefined : rest.slice(colon + 1);
  if (rest === '' || (source === '' && destination === '')) throw wrong('it names nothing');
  if (destination === '') throw wrong("nothing stands behind ':'");
  const negative = sign === '^';
  if (negative && destination !== undefined) throw wrong("with '^' it takes no ':'");
  const stars = (side: string) => side.split('*').length - 1;
  if (stars(source) > 1) throw wrong("more than one '*' stands on a side");
  if (destination !== undefined) {
    if (stars(source) !== stars(destination)) throw wrong("'*' must stand once on both sides or on none");
    const fault = refNameFault(`refs/${destination.replace('*', 'x')}`);
    if (fault !== undefined) throw wrong(`'${destination}' ${fault}`);
  }
  return { force: sign === '+', negative, source, destination };
}

/** Whether a refspec is about all refs like a pattern. */
export function isPattern({ source }: Refspec): boolean {
  return source.includes('*');
}

/** What stands for `*` when a name fits one side of a refspec; `''` for a name that is the side; undefined when it does not fit. */
function starOf(side: string, name: string): string | undefined {
  const at = side.indexOf('*');
  if (at < 0) return side === name ? '' : undefined;
  const [head, tail] = [side.slice(0, at), side.slice(at + 1)];
  const fits = name.length > head.length + tail.length && name.startsWith(head) && name.endsWith(tail);
  return fits ? name.slice(head.length, name.length - tail.length) : undefined;
}

/** What a full name becomes by some refspecs; undefined when none, or a negative one, is about it. The first counts. */
export function mapRef(
  specs: readonly Refspec[],
  name: string,
): { name: string; force: boolean } | undefined {
  if (specs.some((spec) => spec.negative && starOf(spec.source, name) !== undefined)) return undefined;
  for (const { negative, source, destination, force } of specs) {
    const star = negative || destination === undefined ? undefined : starOf(source, name);
    if (star !== undefined) return { name: destination!.replace('*', () => star), force };
  }
  return undefined;
}

/** The names of which a full name may have come by some refspecs. */
export function sourcesOf(specs: readonly Refspec[], name: string): string[] {
  return specs.flatMap(({ negative, source, destination }) => {
    const star = negative || destination === undefined ? undefined : starOf(destination, name);
    return star === undefined ? [] : [source.replace('*', () => star)];
  });
}
