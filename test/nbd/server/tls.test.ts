import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { type NbdExports, NbdServer, NbdSource } from '../../../nbd/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { u32 } from '../client/fake-server.ts';
import { MemoryDisk, only, patterned, serve } from './memory-disk.ts';
import { goData, metaData, named, option, RawClient, request } from './raw-client.ts';

const execute = promisify(execFile);
const run = async (command: string, ...args: readonly string[]) => (await execute(command, args)).stdout;
const TLS_REQUIRED = 2 ** 31 + 5;
const INVALID = 2 ** 31 + 3;

/** Folders with certificates as nbdkit and libnbd name them: a server's, a client's, and a client's of another authority. */
async function certificates() {
  const root = await temporaryFolder();
  const folder = async (name: string) => {
    await mkdir(join(root, name));
    return join(root, name);
  };
  const authority = async (into: string) => {
    const [key, cert] = [join(into, 'ca-key.pem'), join(into, 'ca-cert.pem')];
    await run(
      'openssl',
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=authority',
      '-keyout',
      key,
      '-out',
      cert,
    );
  };
  const sign = async (by: string, into: string, kind: 'server' | 'client') => {
    const [key, cert, ask] = [`${kind}-key.pem`, `${kind}-cert.pem`, 'ask.pem'].map((name) =>
      join(into, name),
    ) as [string, string, string];
    await run(
      'openssl',
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-subj',
      '/CN=localhost',
      '-keyout',
      key,
      '-out',
      ask,
    );
    const extensions = join(into, 'extensions');
    await writeFile(extensions, `subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=${kind}Auth\n`);
    await run(
      'openssl',
      'x509',
      '-req',
      '-in',
      ask,
      '-days',
      '2',
      '-CA',
      join(by, 'ca-cert.pem'),
      '-CAkey',
      join(by, 'ca-key.pem'),
      '-CAcreateserial',
      '-extfile',
      extensions,
      '-out',
      cert,
    );
  };
  const [server, client, stranger] = [
    await folder('server'),
    await folder('client'),
    await folder('stranger'),
  ];
  await authority(server);
  await sign(server, server, 'server');
  await sign(server, client, 'client');
  await run('cp', join(server, 'ca-cert.pem'), client);
  await authority(stranger);
  await sign(stranger, stranger, 'client');
  await run('cp', join(server, 'ca-cert.pem'), stranger);
  return { server, client, stranger };
}

async function serveTls(
  require: boolean,
  verifyPeer = false,
  what: NbdExports | MemoryDisk = new MemoryDisk(patterned(1 << 20)),
) {
  const folders = await certificates();
  const { server } = await serve(what, {
    socket: undefined,
    port: 0,
    tls: { certificates: folders.server, require, verifyPeer },
  });
  const { port } = server.address as { port: number };
  const uri = (scheme: string, folder = folders.client) =>
    `${scheme}://localhost:${port}/disk${scheme === 'nbds' ? `?tls-certificates=${folder}` : ''}`;
  return { server, port, uri, folders };
}

test('NbdServer speaks TLS with nbdinfo, nbdcopy and qemu-img where it is required, and refuses others', async () => {
  const disk = new MemoryDisk(patterned(3 << 20));
  const { uri, port, folders } = await serveTls(true, false, disk);
  const { exports, TLS } = JSON.parse(await run('nbdinfo', '--json', uri('nbds')));
  expect({ TLS, size: exports[0]['export-size'] }).toEqual({ TLS: true, size: 3 << 20 });
  const out = join(await temporaryFolder(), 'out');
  await run('nbdcopy', uri('nbds'), out);
  expect((await readFile(out)).equals(disk.bytes)).toBe(true);
  const target = await serveTls(true, false, new MemoryDisk(Buffer.alloc(3 << 20)));
  await run('nbdcopy', out, target.uri('nbds'));
  const object = `tls-creds-x509,id=tls,dir=${folders.client},endpoint=client`;
  const image = `driver=nbd,host=localhost,port=${port},export=disk,tls-creds=tls`;
  expect(
    await run(
      'qemu-img',
      'compare',
      '--object',
      object,
      '--image-opts',
      image,
      `driver=file,filename=${out}`,
    ),
  ).toContain('identical');
  await expect(run('nbdinfo', uri('nbd'))).rejects.toThrow();
  const address = { host: '127.0.0.1', port };
  await expect(NbdSource.open({ address, exportName: 'disk' }, { label: 'nbd' })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
  });
});

test('NbdServer serves with and without TLS where it is not required', async () => {
  const { uri } = await serveTls(false);
  expect(JSON.parse(await run('nbdinfo', '--json', uri('nbds'))).TLS).toBe(true);
  expect(JSON.parse(await run('nbdinfo', '--json', uri('nbd'))).TLS).toBe(false);
});

test('NbdServer takes only clients whose certificate its authority has signed, if it is to verify them', async () => {
  const { uri, folders, server } = await serveTls(true, true);
  expect(JSON.parse(await run('nbdinfo', '--json', uri('nbds'))).TLS).toBe(true);
  await expect(run('nbdinfo', uri('nbds', folders.stranger))).rejects.toThrow();
  const nameless = join(folders.client, '..', 'nameless');
  await mkdir(nameless);
  await run('cp', join(folders.server, 'ca-cert.pem'), nameless);
  await expect(run('nbdinfo', uri('nbds', nameless))).rejects.toThrow();
  expect(JSON.parse(await run('nbdinfo', '--json', uri('nbds'))).TLS).toBe(true);
  await expect.poll(() => server.connections).toBe(0);
});

test('NbdServer answers nothing but NBD_OPT_STARTTLS and NBD_OPT_ABORT before TLS where it is required', async () => {
  const { port } = await serveTls(true);
  const client = await new RawClient(port).greet();
  for (const [number, data] of [
    [3, undefined],
    [6, goData('disk')],
    [7, goData('disk')],
    [8, undefined],
    [9, metaData('disk')],
    [77, undefined],
    [7, Buffer.alloc(70_000)],
  ] as const) {
    expect((await client.option(number, data)).map(({ type }) => type)).toEqual([TLS_REQUIRED]);
  }
  expect((await client.option(2)).map(({ type }) => type)).toEqual([1]);
  const old = await new RawClient(port).greet();
  old.send(option(1, Buffer.from('disk')));
  expect(await old.readToEnd()).toHaveLength(0);
});

test('NbdServer forgets at NBD_OPT_STARTTLS what was agreed on in the open', async () => {
  const disk = new MemoryDisk(patterned(1 << 20));
  const { port } = await serveTls(false, false, disk);
  const client = await new RawClient(port).greet();
  await client.option(8);
  await client.option(10, metaData('', 'base:allocation'));
  expect((await client.option(5)).map(({ type }) => type)).toEqual([1]);
  expect(disk.released).toBe(1);
  client.socket.removeAllListeners('data');
  const secure = connect({ socket: client.socket, rejectUnauthorized: false });
  const answers: Buffer[] = [];
  secure.on('data', (chunk) => answers.push(chunk));
  const said = () => Buffer.concat(answers);
  // Once more is invalid; metadata contexts need structured replies again.
  secure.write(option(5));
  await expect.poll(() => said().length).toBeGreaterThanOrEqual(20);
  expect(said().readUInt32BE(12)).toBe(INVALID);
  answers.length = 0;
  secure.write(option(10, metaData('', 'base:allocation')));
  await expect.poll(() => said().length).toBeGreaterThanOrEqual(20);
  expect(said().readUInt32BE(12)).toBe(INVALID);
  answers.length = 0;
  secure.write(option(7, goData('')));
  await expect.poll(() => said().length).toBe(20 + 12 + 20);
  answers.length = 0;
  secure.write(request(0, 0, 512));
  await expect.poll(() => said().length).toBe(16 + 512);
  expect(said().readUInt32BE(0)).toBe(0x67446698);
});

test('NbdServer closes the connection of a client that goes on in the open behind NBD_OPT_STARTTLS, or speaks no TLS', async () => {
  const { port, uri, server } = await serveTls(true);
  const injecting = await new RawClient(port).greet();
  injecting.send(option(5), option(3), option(7, Buffer.concat([named('disk'), u32(0)])));
  expect((await injecting.readToEnd()).length).toBeLessThanOrEqual(20);
  const silent = await new RawClient(port).greet();
  await silent.option(5);
  silent.send(Buffer.alloc(1000, 0x41));
  await silent.readToEnd();
  const gone = await new RawClient(port).greet();
  await gone.option(5);
  gone.socket.destroy();
  expect(JSON.parse(await run('nbdinfo', '--json', uri('nbds'))).TLS).toBe(true);
  await expect.poll(() => server.connections).toBe(0);
});

test('NbdServer.listen refuses certificates that are not there or are none', async () => {
  const { server: folder } = await certificates();
  const exports = only(new MemoryDisk(Buffer.alloc(512)));
  const listen = () =>
    NbdServer.listen(exports, { port: 0, tls: { certificates: folder, require: true, verifyPeer: true } });
  await rm(join(folder, 'ca-cert.pem'));
  await expect(listen()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await writeFile(join(folder, 'ca-cert.pem'), 'no certificate');
  await writeFile(join(folder, 'server-cert.pem'), 'no certificate');
  await expect(listen()).rejects.toMatchObject({ code: 'USAGE' });
});
