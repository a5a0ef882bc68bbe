import fc from 'fast-check';
import { NULL_ID, type ObjectId } from '../../../objects/index.ts';
import type { RemoteChange, RemotePack } from '../../../remote/index.ts';

/** Digests of which few are different, so that they meet again. */
export const digests: fc.Arbitrary<ObjectId> = fc
  .nat(15)
  .map((digit) => digit.toString(16).padStart(64, 'a'));

/** Names that JavaScript or JSON could stumble over are among them. */
export const refNames = fc.oneof(
  fc.constantFrom(
    'refs/heads/web',
    'refs/heads/db',
    'refs/tags/v1',
    '__proto__',
    'constructor',
    '7',
    'ü "\\',
  ),
  fc.string({ minLength: 1, unit: 'grapheme' }),
);

const counts = fc.maxSafeNat();

/** Which of several uploads of a pack. */
const uploads = fc.stringMatching(/^[0-9a-f]{8}$/);

export const packRows: fc.Arbitrary<RemotePack> = fc.record({
  pack: digests,
  upload: uploads,
  kind: fc.constantFrom('data', 'maps'),
  bytes: counts,
  indexBytes: counts,
  objects: counts,
});

const graves = fc.record({
  pack: digests,
  upload: uploads,
  at: fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-01-01') })
    .map((date) => date.toISOString()),
});

/** A ref is named once in a change. */
export const changes: fc.Arbitrary<RemoteChange> = fc.record({
  head: fc.option(fc.constantFrom('refs/heads/web', 'refs/heads/db'), { nil: undefined }),
  refs: fc.uniqueArray(
    fc.oneof(
      fc.record({ name: refNames, id: fc.oneof(digests, fc.constant(NULL_ID)) }),
      fc.record({ name: refNames, id: digests, peeled: digests }),
    ),
    {
      selector: ({ name }) => name,
      maxLength: 6,
    },
  ),
  added: fc.array(packRows, { maxLength: 4 }),
  buried: fc.array(graves, { maxLength: 3 }),
  gone: fc.array(fc.record({ pack: digests, upload: uploads }), { maxLength: 3 }),
});

/** A pack as a state lists it, of which nothing else is there. */
export function packRow(number: number): RemotePack {
  const pack = number.toString(16).padStart(64, '0');
  return { pack, upload: '00000000', kind: 'data', bytes: 1000 + number, indexBytes: 1100, objects: 3 };
}

/** A change that moves one ref and adds nothing. */
export function moveOf(name: string, id: ObjectId): RemoteChange {
  return { refs: [{ name, id }], added: [], buried: [], gone: [] };
}
