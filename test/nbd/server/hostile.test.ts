import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { bytes, u16, u32, u64 } from '../client/fake-server.ts';
import { MemoryDisk, patterned, serve, type TestServer } from './memory-disk.ts';
import { goData, metaData, option, RawClient, request } from './raw-client.ts';

const MEBIBYTE = 1024 * 1024;
const SIZE = 64 * MEBIBYTE;

/** Nothing that a client does may end as a rejection that nobody handles. */
const unhandled: unknown[] = [];
process.on('unhandledRejection', (error) => unhandled.push(error));

/** A server of 64 MiB, and at the end of the test the proof that another client is served right, and that all others are gone. */
async function hardened(
  options: Parameters<typeof serve>[1] = {},
): Promise<TestServer & { readonly disk: MemoryDisk }> {
  const disk = new MemoryDisk(Buffer.alloc(SIZE, patterned(4096)));
  return { ...(await serve(disk, options)), disk };
}

async function expectHealthy({
  socket,
  disk,
}: {
  readonly socket: string;
  readonly disk: MemoryDisk;
}): Promise<void> {
  const client = await new RawClient(socket).enter('', { allocation: true });
  const [chunk] = await client.ask(0, 4096, 65536);
  expect(chunk!.data.subarray(8).equals(disk.bytes.subarray(4096, 4096 + 65536))).toBe(true);
  const payload = patterned(512);
  expect(await client.errorOf(1, 0, 512, { payload })).toBe(0);
  expect(disk.bytes.subarray(0, 512).equals(payload)).toBe(true);
  client.socket.destroy();
  expect(unhandled).toEqual([]);
}

/** All of a conversation up to its first requests. */
const CONVERSATION = bytes(
  u32(3),
  option(8),
  option(3),
  option(9, metaData('disk')),
  option(10, metaData('disk', 'base:allocation', 'base:')),
  option(6, goData('disk', 3, 1, 2)),
  option(7, goData('disk', 3)),
  request(0, 0, 4096, { cookie: 1n }),
  request(1, 4096, 100, { payload: Buffer.alloc(100), cookie: 2n }),
  request(7, 0, 4096, { cookie: 3n }),
);

test('NbdServer survives a conversation that is cut off at every byte', async () => {
  const served = await hardened();
  for (let length = 0; length <= CONVERSATION.length; length++) {
    const client = connect(served.socket);
    client.on('error', () => {});
    client.resume();
    const closed = new Promise((resolve) => client.once('close', resolve));
    // Both ways to go: with an end that can be answered, and without a word.
    if (length % 2 === 0) client.end(CONVERSATION.subarray(0, length));
    else client.write(CONVERSATION.subarray(0, length), () => client.destroy());
    await closed;
  }
  await expect.poll(() => served.server.connections, { timeout: 60_000 }).toBe(0);
  expect(served.notices).toEqual([]);
  await expectHealthy(served);
});

test('NbdServer understands a conversation that comes byte by byte', async () => {
  const { socket } = await hardened();
  const client = new RawClient(socket);
  for (const byte of CONVERSATION) client.send(Buffer.from([byte]));
  await client.read(18);
  for (const number of [8, 3, 9, 10, 6, 7]) await client.optionReplies(number);
  const cookies = new Set<bigint>();
  while (cookies.size < 3) {
    const { cookie, error } = await client.reply();
    expect(error).toBe(0);
    cookies.add(cookie);
  }
});

test('NbdServer survives garbage in every state', async () => {
  const served = await hardened();
  const states = [
    new Uint8Array(0),
    u32(3),
    bytes(u32(3), option(8)),
    bytes(u32(3), option(8), option(10, metaData('disk', 'base:allocation')), option(7, goData('disk'))),
    bytes(u32(3), option(1, Buffer.from('disk'))),
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.nat(states.length - 1),
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      async (state, garbage) => {
        const client = new RawClient(served.socket);
        client.send(states[state]!, garbage);
        client.socket.end();
        await client.readToEnd();
      },
    ),
    { numRuns: 200 },
  );
  await expect.poll(() => served.server.connections, { timeout: 60_000 }).toBe(0);
  await expectHealthy(served);
});

test('NbdServer survives requests with any fields', async () => {
  const served = await hardened();
  const field = fc.record({
    command: fc.oneof(fc.nat(9), fc.nat(65535)),
    flags: fc.oneof(fc.constant(0), fc.nat(31), fc.nat(65535)),
    offset: fc.oneof(fc.nat(SIZE + 10).map(BigInt), fc.bigInt(0n, 2n ** 64n - 1n)),
    length: fc.oneof(fc.nat(100_000), fc.nat(0xffffffff)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(field, { minLength: 1, maxLength: 20 }), async (fields) => {
      const client = await new RawClient(served.socket).enter('', { allocation: true });
      for (const [i, { command, flags, offset, length }] of fields.entries()) {
        const payload = Buffer.alloc(command === 1 && length <= 100_000 ? length : 0);
        client.send(request(command, offset, length, { flags, cookie: BigInt(i), payload }));
      }
      client.socket.end();
      await client.readToEnd();
    }),
    { numRuns: 60 },
  );
  await expect.poll(() => served.server.connections, { timeout: 60_000 }).toBe(0);
  await expectHealthy(served);
});

test.each([
  ['a wrong magic of an option', bytes(u32(3), Buffer.from('IHAVEOPX'), u32(3), u32(0))],
  ['flags that are not known', u32(4)],
  ['a request without the magic', bytes(u32(3), option(1, Buffer.from('disk')), Buffer.alloc(28, 0x25))],
  ['an export name of 4097 bytes', bytes(u32(3), option(1, Buffer.alloc(4097, 0x78)))],
  ['an export name that is too long to read', bytes(u32(3), option(1, Buffer.alloc(100_000, 0x78)))],
  [
    'a write of 4 GiB',
    bytes(u32(3), option(1, Buffer.from('disk')), request(1, 0, 0xffffffff), Buffer.alloc(1 << 20)),
  ],
])('NbdServer closes the connection upon %s, and says so in one line', async (_, said) => {
  const served = await hardened();
  const client = new RawClient(served.socket).send(said);
  await client.readToEnd();
  await expect.poll(() => served.server.connections).toBe(0);
  expect(served.notices).toHaveLength(1);
  expect(served.notices[0]).toMatch(/^[\x20-\x7e]*a client broke the NBD protocol: [\x20-\x7e]+$/);
  await expectHealthy(served);
});

test('NbdServer takes no memory for an option that announces 4 GiB', async () => {
  const served = await hardened({ handshakeSeconds: 1 });
  const before = process.memoryUsage.rss();
  const client = await new RawClient(served.socket).greet();
  client.send(option(10, Buffer.alloc(0), 0xffffffff));
  for (let i = 0; i < 16; i++) client.send(Buffer.alloc(MEBIBYTE));
  await client.readToEnd();
  expect(process.memoryUsage.rss() - before).toBeLessThan(256 * MEBIBYTE);
  await expectHealthy(served);
});

test('NbdServer drops a write whose payload does not come, with what it holds', async () => {
  const served = await hardened();
  for (let i = 0; i < 20; i++) {
    const client = await new RawClient(served.socket).enter();
    const part = request(1, 0, 32 * MEBIBYTE, { payload: Buffer.alloc(100_000 + i) });
    await new Promise((resolve) => client.socket.write(part, resolve));
    client.socket.destroy();
  }
  await expect.poll(() => served.server.connections).toBe(0);
  expect(served.disk.calls).toEqual([]);
  expect(served.disk.released).toBe(20);
  // All the memory is there again: as many long reads as fit go on at a time.
  const client = await new RawClient(served.socket).enter();
  for (let i = 0; i < 4; i++) client.send(request(0, 0, 32 * MEBIBYTE, { cookie: BigInt(i) }));
  for (let i = 0; i < 4; i++) expect((await client.reply()).error).toBe(0);
  await expectHealthy(served);
});

/** Chooses the export, asks, and reads no more. */
async function deaf(socket: string, ...requests: readonly Uint8Array[]): Promise<Socket> {
  const client = await new RawClient(socket).enter();
  client.socket.pause();
  return client.send(...requests).socket;
}

test('NbdServer holds little for 200 clients that ask for all they can and never read, and serves another meanwhile', async () => {
  const served = await hardened();
  const before = process.memoryUsage.rss();
  const many = Array.from({ length: 64 }, (_, i) =>
    request(0, i * 65536, 32 * MEBIBYTE, { cookie: BigInt(i) }),
  );
  const small = Array.from({ length: 2000 }, (_, i) => request(99, 0, 0, { cookie: BigInt(i) }));
  for (let i = 0; i < 200; i++) await deaf(served.socket, ...(i % 2 === 0 ? many : small));
  await expect.poll(() => served.server.connections).toBe(200);
  // The small ones have all that a connection has by itself.
  await expectHealthy(served);
  await sleep(200);
  expect(process.memoryUsage.rss() - before).toBeLessThan(400 * MEBIBYTE);
  await served.server.close();
});

test('NbdServer stops reading from a client that does not read', async () => {
  const served = await hardened();
  const client = await deaf(served.socket);
  let taken = 0;
  const flood = Buffer.concat(Array.from({ length: 1000 }, () => request(0, 0, 65536)));
  // The socket's buffers fill up, and then nothing more is taken.
  for (let i = 0; i < 100; i++) client.write(flood, () => taken++);
  await sleep(300);
  const then = taken;
  await sleep(300);
  expect(taken).toBe(then);
  expect(taken).toBeLessThan(100);
  await expectHealthy(served);
});

test('NbdServer cuts off a client that leaves its replies when others wait for the memory, and them alone', async () => {
  const served = await hardened();
  const now = performance.now.bind(performance);
  let skipped = 0;
  performance.now = () => now() + skipped;
  onTestFinished(() => {
    performance.now = now;
  });
  const quiet = await new RawClient(served.socket).enter();
  for (let i = 0; i < 5; i++) await deaf(served.socket, request(0, 0, 30 * MEBIBYTE));
  const waiting = await new RawClient(served.socket).enter();
  await sleep(500);
  waiting.send(request(0, 0, 16 * MEBIBYTE));
  await expectHealthy(served);
  expect(served.notices).toEqual([]);
  skipped = 31_000;
  expect((await waiting.reply()).error).toBe(0);
  expect(new Set(served.notices)).toEqual(
    new Set(['a client that left its replies or the rest of a write for too long was cut off']),
  );
  expect(await quiet.errorOf(0, 0, 512)).toBe(0);
  expect(await waiting.errorOf(0, 0, 512)).toBe(0);
});

test('NbdServer.close does not wait for clients that leave their replies or the rest of a write', async () => {
  const served = await hardened();
  await deaf(served.socket, request(0, 0, 32 * MEBIBYTE));
  await deaf(served.socket, request(1, 0, 32 * MEBIBYTE, { payload: Buffer.alloc(1000) }));
  await deaf(served.socket, bytes(u16(1), u64(0)));
  await expect.poll(() => served.server.connections).toBe(3);
  await served.server.close();
  expect(served.server.connections).toBe(0);
  expect(served.disk.released).toBe(3);
});

test('NbdServer survives clients that go away while their requests are under way', async () => {
  const served = await hardened();
  for (let i = 0; i < 60; i++) {
    const client = await new RawClient(served.socket).enter();
    for (let k = 0; k < 20; k++) client.send(request(i % 3 === 0 ? 0 : 7, k * 65536, 4 * MEBIBYTE));
    if (i % 2 === 0) await client.read(100);
    client.socket.destroy();
  }
  await expect.poll(() => served.server.connections, { timeout: 60_000 }).toBe(0);
  expect(served.disk.released).toBe(60);
  await expectHealthy(served);
});
