import { expect, test } from 'vitest';
import { encodeSharing, parseSharing } from '../../../store/config/sharing.ts';
import '../git.ts';

const GROUP = { bits: 0o660, exact: false };

test.each([
  ['umask', undefined],
  ['false', undefined],
  ['0', undefined],
  ['group', GROUP],
  ['true', GROUP],
  ['Yes', GROUP],
  ['1', GROUP],
  ['all', { bits: 0o664, exact: false }],
  ['everybody', { bits: 0o664, exact: false }],
  ['2', { bits: 0o664, exact: false }],
  ['0640', { bits: 0o640, exact: true }],
  ['0777', { bits: 0o666, exact: true }],
])('parseSharing reads %s', (text, sharing) => {
  expect(parseSharing(text, 'core.sharedRepository', 'BAD_STORE')).toEqual(sharing);
  if (sharing === undefined) return;
  const parsed = parseSharing(text, '', 'USAGE')!;
  expect(parseSharing(encodeSharing(parsed), '', 'USAGE')).toEqual(sharing);
});

test.each(['0460', '099', 'some', '-1'])('parseSharing refuses %s', (text) => {
  expect(() => parseSharing(text, 'core.sharedRepository', 'BAD_STORE')).toThrow(
    expect.objectContaining({ code: 'BAD_STORE' }),
  );
});
