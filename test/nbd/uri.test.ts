import { expect, test } from 'vitest';
import { isNbdUri, NBD_PORT, parseNbdUri } from '../../nbd/index.ts';

/** The examples of doc/uri.md, and more. */
test.each([
  ['nbd://example.com/disk', { host: 'example.com', port: NBD_PORT }, 'disk'],
  ['nbd://example.com:10810/disk', { host: 'example.com', port: 10810 }, 'disk'],
  ['nbd://example.com/', { host: 'example.com', port: NBD_PORT }, ''],
  ['nbd://example.com', { host: 'example.com', port: NBD_PORT }, ''],
  ['nbd://example.com//disk', { host: 'example.com', port: NBD_PORT }, '/disk'],
  ['nbd://example.com/hello%20world', { host: 'example.com', port: NBD_PORT }, 'hello world'],
  ['nbd://[::1]:1/a%2Fb%3F', { host: '::1', port: 1 }, 'a/b?'],
  ['nbd:///disk', { host: 'localhost', port: NBD_PORT }, 'disk'],
  ['NBD://h:/%C3%A4', { host: 'h', port: NBD_PORT }, 'ä'],
  ['nbd+unix:///disk?socket=nbd.sock', { path: 'nbd.sock' }, 'disk'],
  ['nbd+unix:///?socket=/run/a%20b+c.sock', { path: '/run/a b+c.sock' }, ''],
  ['nbd+unix:///?socket=%00/abstract', { path: '\0/abstract' }, ''],
])('parseNbdUri reads %s', (uri, address, exportName) => {
  expect(parseNbdUri(uri)).toEqual({ address, exportName });
});

test.each([
  ['nbds://h/x', 'UNSUPPORTED', 'TLS'],
  ['nbds+unix:///x?socket=s', 'UNSUPPORTED', 'TLS'],
  ['nbd+vsock://2/x', 'UNSUPPORTED', 'nbd+unix:'],
  ['nbd+unix:///x', 'USAGE', 'names no socket'],
  ['nbd+unix:///x?socket=', 'USAGE', 'names no socket'],
  ['nbd+unix://host/x?socket=s', 'USAGE', 'names a host'],
  ['nbd+unix:///x?socket=a&socket=b', 'USAGE', 'twice'],
  ['nbd://h/x?socket=s', 'USAGE', '"socket"'],
  ['nbd+unix:///x?socket=s&tls-type=x509', 'USAGE', '"tls-type"'],
  ['nbd://user@h/x', 'USAGE', 'user name'],
  ['nbd://h:0/x', 'USAGE', 'no port'],
  ['nbd://h:65536/x', 'USAGE', 'no port'],
  ['nbd://h:port/x', 'USAGE', 'no host'],
  ['nbd://h/%zz', 'USAGE', '%25'],
  ['nbd://h/%ff', 'USAGE', '%25'],
  ['nbd://h/a%00b', 'USAGE', 'NUL'],
  ['nbd://h/a#b', 'USAGE', '%23'],
  [`nbd://h/${'x'.repeat(4097)}`, 'USAGE', 'longer'],
])('parseNbdUri refuses %s', (uri, code, part) => {
  expect(() => parseNbdUri(uri)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(part) }),
  );
});

test('isNbdUri knows URIs from files', () => {
  expect(['nbd://h', 'nbds://h', 'nbd+unix:///x', 'NBD://h'].map(isNbdUri)).toEqual([true, true, true, true]);
  expect(['nbd', 'nbd:h:1', 'web.qcow2', './nbd://h', 'file:///x'].some(isNbdUri)).toBe(false);
});
