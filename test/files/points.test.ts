import { expect, test } from 'vitest';
import { passPoint, watchPoints } from '../../files/index.ts';

test('passPoint calls the hook with the point, the path and what is to be written', () => {
  const calls: unknown[] = [];
  const stop = watchPoints((...args) => calls.push(args));
  const write = { bytes: Buffer.from('abc'), offset: 7 };
  passPoint('loose.create', '/a');
  passPoint('loose.write', '/a', write);
  stop();
  passPoint('loose.write', '/b');
  expect(calls).toEqual([
    ['loose.create', '/a', undefined],
    ['loose.write', '/a', write],
  ]);
});

test('passPoint throws what the hook throws', () => {
  const stop = watchPoints(() => {
    throw new Error('fault');
  });
  expect(() => passPoint('pack.rename', '/a')).toThrow('fault');
  stop();
});

test('watchPoints gives back the hook before it when it is stopped', () => {
  const calls: string[] = [];
  const stopOuter = watchPoints(() => calls.push('outer'));
  const stopInner = watchPoints(() => calls.push('inner'));
  passPoint('a.write', '');
  stopInner();
  passPoint('a.write', '');
  stopOuter();
  expect(calls).toEqual(['inner', 'outer']);
});
