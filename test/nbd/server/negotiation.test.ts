import { expect, test } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { u16, u32, u64 } from '../client/fake-server.ts';
import { MemoryDisk, only, patterned, serve } from './memory-disk.ts';
import { goData, metaData, named, RawClient, type RawOptionReply, request } from './raw-client.ts';

/** Numbers of the specification. */
const [EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED, LIST_META, SET_META, EXTENDED] = [
  1, 2, 3, 5, 6, 7, 8, 9, 10, 11,
];
const [ACK, SERVER, REP_INFO, REP_META] = [1, 2, 3, 4];
const [UNSUPPORTED, POLICY, INVALID, UNKNOWN, TOO_BIG] = [1, 2, 3, 6, 9].map((error) => 2 ** 31 + error);

const disk = () => new MemoryDisk(patterned(1 << 20));
const connect = async (target = disk()) => new RawClient((await serve(target)).socket).greet();
const types = (replies: readonly RawOptionReply[]) => replies.map(({ type }) => type);

test('NbdServer greets as fixed newstyle does, without zeroes if wished', async () => {
  const client = new RawClient((await serve(disk())).socket);
  expect((await client.read(18)).toString('latin1')).toBe('NBDMAGICIHAVEOPT\0\x03');
});

test.each([
  ['124 zeroes', 1, 134],
  ['no zeroes', 3, 10],
] as const)('NbdServer answers NBD_OPT_EXPORT_NAME with size, flags and %s', async (_, flags, length) => {
  const client = await new RawClient((await serve(disk())).socket).greet(flags);
  client.send(Buffer.from('IHAVEOPT'), u32(EXPORT_NAME!), u32(4), Buffer.from('disk'));
  const head = await client.read(length);
  expect(head.readBigUInt64BE(0)).toBe(1n << 20n);
  // All but DF, which needs structured replies.
  expect(head.readUInt16BE(8)).toBe(1 | 4 | 8 | 32 | 64 | 256 | 1024 | 2048);
  expect(head.subarray(10).every((byte) => byte === 0)).toBe(true);
  const [reply] = await client.ask(0, 512, 512);
  expect(reply).toMatchObject({ type: 'simple', error: 0 });
  expect(reply!.data.equals(patterned(1 << 20).subarray(512, 1024))).toBe(true);
});

test('NbdServer serves a client that speaks newstyle that is not fixed, and knows one option only', async () => {
  const { socket } = await serve(disk());
  const client = await new RawClient(socket).greet(0);
  client.send(Buffer.from('IHAVEOPT'), u32(EXPORT_NAME!), u32(0));
  expect((await client.read(134)).readBigUInt64BE(0)).toBe(1n << 20n);
  const other = await new RawClient(socket).greet(0);
  other.send(Buffer.from('IHAVEOPT'), u32(LIST!), u32(0));
  expect(await other.readToEnd()).toHaveLength(0);
});

test('NbdServer closes the connection when NBD_OPT_EXPORT_NAME names no export', async () => {
  const client = await connect();
  client.send(Buffer.from('IHAVEOPT'), u32(EXPORT_NAME!), u32(5), Buffer.from('other'));
  expect(await client.readToEnd()).toHaveLength(0);
});

test('NbdServer acknowledges NBD_OPT_ABORT, with data too, and closes', async () => {
  for (const data of [Buffer.alloc(0), Buffer.alloc(10), Buffer.alloc(100_000)]) {
    const client = await connect();
    expect(types(await client.option(ABORT!, data))).toEqual([ACK]);
    expect(await client.readToEnd()).toHaveLength(0);
  }
});

test('NbdServer refuses options that it does not know, and data where none belong, and goes on', async () => {
  const client = await connect();
  for (const option of [0, 4, 12, 13, 0xffffffff]) {
    expect(types(await client.option(option, Buffer.alloc(9)))).toEqual([UNSUPPORTED]);
  }
  for (const option of [LIST, STARTTLS, STRUCTURED, EXTENDED]) {
    expect(types(await client.option(option!, Buffer.alloc(1)))).toEqual([INVALID]);
  }
  expect(types(await client.option(STARTTLS!))).toEqual([POLICY]);
  expect(types(await client.option(LIST!))).toEqual([SERVER, ACK]);
});

test('NbdServer passes over options that are too long, and goes on', async () => {
  const client = await connect();
  for (const option of [LIST, INFO, GO, SET_META, 77]) {
    expect(types(await client.option(option!, Buffer.alloc(65_537)))).toEqual([TOO_BIG]);
  }
  expect(types(await client.option(GO!, goData('')))).toEqual([REP_INFO, ACK]);
});

test.each([
  ['NBD_OPT_INFO', INFO],
  ['NBD_OPT_GO', GO],
])('NbdServer tells in %s what was asked for, and the export always', async (_, option) => {
  const client = await connect();
  const replies = await client.option(option!, goData('', 3, 1, 2, 99));
  expect(types(replies)).toEqual([REP_INFO, REP_INFO, REP_INFO, REP_INFO, ACK]);
  const infos = new Map(replies.slice(0, 4).map(({ data }) => [data.readUInt16BE(0), data.subarray(2)]));
  expect(infos.get(0)!.readBigUInt64BE(0)).toBe(1n << 20n);
  expect(infos.get(1)!.toString()).toBe('disk');
  expect(infos.get(2)!.toString()).toBe('in memory');
  expect([0, 4, 8].map((at) => infos.get(3)!.readUInt32BE(at))).toEqual([1, 65536, 32 * 1024 * 1024]);
});

test('NbdServer tells block sizes unasked when they are not the usual ones', async () => {
  const blockSize = { minimum: 512, preferred: 4096, maximum: 2 ** 32 - 1 };
  const client = await connect(new MemoryDisk(patterned(4096), { blockSize }));
  const replies = await client.option(INFO!, goData('disk'));
  expect(replies[1]!.data).toEqual(Buffer.concat([u16(3), u32(512), u32(4096), u32(32 * 1024 * 1024)]));
});

test.each([
  ['a name longer than its data', Buffer.concat([u32(5), Buffer.from('disk'), u16(0)])],
  ['a name of 4097 bytes', goData('x'.repeat(4097))],
  ['a name that is not UTF-8', Buffer.concat([u32(1), Buffer.from([0xff]), u16(0)])],
  ['more requests than data', Buffer.concat([named('disk'), u16(9), u16(3)])],
  ['something behind', Buffer.concat([goData('disk'), Buffer.alloc(1)])],
  ['nothing', Buffer.alloc(0)],
])('NbdServer calls NBD_OPT_GO with %s invalid, and goes on', async (_, data) => {
  const client = await connect();
  expect(types(await client.option(GO!, data))).toEqual([INVALID]);
  expect(types(await client.option(GO!, goData('disk')))).toEqual([REP_INFO, ACK]);
});

test('NbdServer says that an export is not there, and why it cannot be opened', async () => {
  const exports = {
    ...only(disk()),
    open: async (name: string) => {
      if (name === 'damaged')
        throw new ImgstoreError('DAMAGED', 'web: its tree is damaged: run imgstore fsck');
      if (name === 'secret') throw new ImgstoreError('FORBIDDEN', 'secret: is not served');
      return undefined;
    },
  };
  const client = await new RawClient((await serve(exports)).socket).greet();
  const answers = [];
  for (const name of ['other', 'damaged', 'secret', 'x'.repeat(4096)]) {
    const [reply] = await client.option(GO!, goData(name));
    answers.push([reply!.type, reply!.data.toString().slice(0, 41)]);
  }
  expect(answers).toEqual([
    [UNKNOWN, 'there is no export "other"'],
    [UNKNOWN, 'web: its tree is damaged: run imgstore fs'],
    [POLICY, 'secret: is not served'],
    [UNKNOWN, `there is no export "${'x'.repeat(21)}`],
  ]);
});

test('NbdServer closes the connection, and tells why, when exports fail unexpectedly; others are served', async () => {
  const exports = {
    ...only(disk()),
    open: (name: string) => (name === 'bad' ? Promise.reject(new Error('oops')) : only(disk()).open(name)),
  };
  const { socket, notices } = await serve(exports);
  const client = await new RawClient(socket).greet();
  await expect(client.option(GO!, goData('bad'))).rejects.toThrow('closed');
  expect(notices).toEqual(['a connection failed: oops']);
  await new RawClient(socket).enter('disk');
});

test('NbdServer tells in one line which export could not be opened, and why, but not what clients name wrongly', async () => {
  const faults: Record<string, ImgstoreError> = {
    'a\n\u001b[2Jb': new ImgstoreError('DAMAGED', 'its tree\nis damaged'),
    gone: new ImgstoreError('NOT_FOUND', '/overlays: no such file or folder'),
    several: new ImgstoreError('USAGE', 'name a disk'),
    secret: new ImgstoreError('FORBIDDEN', 'is not served'),
  };
  const open = async (name: string) => {
    if (faults[name] !== undefined) throw faults[name];
    return only(disk()).open(name);
  };
  const { socket, notices } = await serve({ ...only(disk()), open });
  const client = await new RawClient(socket).greet();
  for (const name of [...Object.keys(faults), 'other'])
    for (let i = 0; i < 3; i++) await client.option(GO!, goData(name));
  expect(notices).toEqual([
    'export "a\\n\\u001b[2Jb" cannot be opened: its tree\\u{a}is damaged',
    'export "gone" cannot be opened: /overlays: no such file or folder',
  ]);
});

test('NbdServer lists and selects base:allocation as the queries ask', async () => {
  const client = await connect();
  const listed = async (option: number, ...queries: string[]) => {
    const replies = await client.option(option, metaData('disk', ...queries));
    return replies.slice(0, -1).map(({ type, data }) => [type, data.subarray(4).toString()]);
  };
  expect(types(await client.option(SET_META!, metaData('disk', 'base:allocation')))).toEqual([INVALID]);
  await client.option(STRUCTURED!);
  const found = [[REP_META, 'base:allocation']];
  expect(await listed(LIST_META!)).toEqual(found);
  expect(await listed(LIST_META!, 'base:')).toEqual(found);
  expect(await listed(LIST_META!, 'qemu:', 'base:allocation')).toEqual(found);
  expect(await listed(LIST_META!, 'qemu:dirty-bitmap:x', 'base:other', 'nonsense')).toEqual([]);
  expect(await listed(SET_META!)).toEqual([]);
  expect(await listed(SET_META!, 'base:')).toEqual([]);
  expect(await listed(SET_META!, 'x-other:y', 'base:allocation')).toEqual(found);
  expect(types(await client.option(SET_META!, metaData('other', 'base:allocation')))).toEqual([UNKNOWN]);
  expect(types(await client.option(SET_META!, Buffer.concat([named('disk'), u32(0xffffffff)])))).toEqual([
    INVALID,
  ]);
  // The failure has unselected it.
  await client.option(GO!, goData('disk'));
  expect(await client.errorOf(7, 0, 4096)).toBe(22);
});

test('NbdServer forgets base:allocation when another export is chosen', async () => {
  const client = await connect();
  await client.option(STRUCTURED!);
  await client.option(SET_META!, metaData('disk', 'base:allocation'));
  await client.option(GO!, goData(''));
  expect(await client.errorOf(7, 0, 4096)).toBe(22);
});

test('NbdServer opens an export once for the options about it, and releases what was not chosen', async () => {
  const opened: string[] = [];
  const disks = new Map(['a', 'b'].map((name) => [name, new MemoryDisk(patterned(4096), { name })]));
  const exports = {
    async *list() {},
    async open(name: string) {
      opened.push(name);
      return disks.get(name);
    },
  };
  const { socket, server } = await serve(exports);
  const client = await new RawClient(socket).greet();
  await client.option(STRUCTURED!);
  await client.option(SET_META!, metaData('a', 'base:allocation'));
  await client.option(INFO!, goData('b'));
  expect(disks.get('a')!.released).toBe(1);
  await client.option(INFO!, goData('a'));
  await client.option(GO!, goData('a'));
  expect(opened).toEqual(['a', 'b', 'a']);
  expect(await client.errorOf(0, 0, 512)).toBe(0);
  client.send(request(2, 0, 0));
  await client.readToEnd();
  await server.close();
  expect([...disks.values()].map(({ released }) => released)).toEqual([2, 1]);
});

test('NbdServer takes requests that come right behind the choice of an export', async () => {
  const client = await connect();
  const head = Buffer.concat([Buffer.from('IHAVEOPT'), u32(GO!), u32(6), named(''), u16(0)]);
  client.send(head, request(0, 0, 512, { cookie: 5n }));
  await client.optionReplies(GO!);
  expect(await client.reply(512)).toMatchObject({ cookie: 5n, error: 0 });
});

test('NbdServer cuts off a client that chooses nothing', async () => {
  const { socket, server } = await serve(disk(), { handshakeSeconds: 0.1 });
  const silent = new RawClient(socket);
  const slow = await new RawClient(socket).greet();
  slow.send(u64(0x49484156454f5054n));
  const quick = await new RawClient(socket).enter();
  await silent.readToEnd();
  await slow.readToEnd();
  expect(await quick.errorOf(0, 0, 512)).toBe(0);
  await expect.poll(() => server.connections).toBe(1);
});
