import { expect, test } from 'vitest';
import { parseQmpAddress } from '../../../nbd/index.ts';

test.each([
  ['/run/vm.qmp', { path: '/run/vm.qmp' }],
  ['vm.qmp', { path: 'vm.qmp' }],
  ['unix:vm.qmp,server=on,wait=off', { path: 'vm.qmp' }],
  ['unix:a:1', { path: 'a:1' }],
  ['./a:1', { path: './a:1' }],
  ['localhost:4444', { host: 'localhost', port: 4444 }],
  [':4444', { host: 'localhost', port: 4444 }],
  ['tcp:127.0.0.1:4444,server=on', { host: '127.0.0.1', port: 4444 }],
  ['tcp:[::1]:4444', { host: '::1', port: 4444 }],
])('parseQmpAddress takes %s', (text, address) => {
  expect(parseQmpAddress(text)).toEqual(address);
});

test.each(['', 'unix:', 'localhost:0', 'localhost:65536'])('parseQmpAddress throws USAGE for %j', (text) => {
  expect(() => parseQmpAddress(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
});
