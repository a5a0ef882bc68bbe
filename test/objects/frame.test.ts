import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ObjectFrame, objectId } from '../../objects/index.ts';

test('ObjectFrame.id is the id of the bytes that were put there, of any length after any other', () => {
  const frame = new ObjectFrame('blob');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      frame.resize(bytes.length).set(bytes);
      expect(frame.id()).toBe(objectId('blob', bytes));
    }),
    { examples: [[new Uint8Array(0)], [new Uint8Array(100)], [new Uint8Array(0)], [new Uint8Array(65_536)]] },
  );
});
