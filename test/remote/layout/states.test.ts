import { describe, expect, test } from 'vitest';
import type { ObjectId } from '../../../objects/index.ts';
import { type RemoteChange, RemoteStates, STATES, stateName, stateNumber } from '../../../remote/index.ts';
import { MemoryBucket } from '../memory-bucket.ts';
import { moveOf, packRow } from './contents.ts';

const id = (number: number): ObjectId => number.toString(16).padStart(64, '0');

/** Makes states of an empty bucket, one after the other. */
async function filled(changes: readonly RemoteChange[]): Promise<MemoryBucket> {
  const bucket = new MemoryBucket();
  const states = new RemoteStates(bucket);
  for (const change of changes) await states.publish(await states.newest(), change);
  return bucket;
}

/** A bucket with a checkpoint and some states after it. */
const large = () =>
  filled(
    Array.from({ length: 60 }, (_, i) => ({ ...moveOf(`refs/heads/b${i}`, id(i + 1)), added: [packRow(i)] })),
  );

function put(bucket: MemoryBucket, name: string, bytes: Uint8Array): void {
  bucket.objects.set(name, { bytes, modified: new Date() });
}

const namesBelow = ({ objects }: MemoryBucket, prefix: string) =>
  [...objects.keys()].filter((name) => name.startsWith(prefix)).sort();

const newest = (bucket: MemoryBucket) => new RemoteStates(bucket).newest();

describe('RemoteStates', () => {
  test('newest is empty in an empty bucket', async () => {
    expect(await newest(new MemoryBucket())).toMatchObject({ number: 0, content: { head: undefined } });
  });

  test('newest has all that was published, with one number a change', async () => {
    const bucket = await large();
    const { number, content } = await newest(bucket);
    expect(number).toBe(60);
    expect(content.refs.size).toBe(60);
    expect(content.packs.size).toBe(60);
    expect(namesBelow(bucket, STATES)).toEqual(Array.from({ length: 60 }, (_, i) => stateName(60 - i)));
  });

  test('every change of writers that race is there, once, and numbers have no gaps', async () => {
    const bucket = new MemoryBucket();
    const WRITERS = 6;
    const ROUNDS = 15;
    const write = async (writer: number) => {
      const states = new RemoteStates(bucket);
      for (let round = 0; round < ROUNDS; ) {
        const seen = await states.newest();
        // Each change takes up what is there, so that one that was undone would be missed.
        const before = seen.content.refs.get(`refs/heads/w${writer}`);
        expect(before).toBe(round === 0 ? undefined : id(round));
        const change = {
          ...moveOf(`refs/heads/w${writer}`, id(round + 1)),
          added: [packRow(writer * ROUNDS + round)],
        };
        if ((await states.publish(seen, change)) !== undefined) round++;
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
    const { number, content } = await newest(bucket);
    expect(number).toBe(WRITERS * ROUNDS);
    expect(content.packs.size).toBe(WRITERS * ROUNDS);
    expect([...content.refs.values()]).toEqual(Array(WRITERS).fill(id(ROUNDS)));
    expect(namesBelow(bucket, STATES).map(stateNumber)).toEqual(
      Array.from({ length: number }, (_, i) => number - i),
    );
  });

  test('publish writes little beside what there is, and checkpoints seldom', async () => {
    const bucket = new MemoryBucket();
    const states = new RemoteStates(bucket);
    const many = {
      ...moveOf('refs/heads/a', id(1)),
      added: Array.from({ length: 3000 }, (_, i) => packRow(i)),
    };
    let seen = (await states.publish(await states.newest(), many))!;
    const begun = bucket.traffic.sentBytes;
    const checkpoints = namesBelow(bucket, 'checkpoints/').length;
    const MOVES = 500;
    for (let i = 0; i < MOVES; i++)
      seen = (await states.publish(seen, {
        ...moveOf('refs/heads/a', id(i + 2)),
        added: [packRow(5000 + i)],
      }))!;
    const sizes = namesBelow(bucket, STATES).map((name) => bucket.objects.get(name)!.bytes.length);
    expect(Math.max(...sizes)).toBeLessThan(4096 + seen.checkpointBytes / 16 + 1);
    expect(namesBelow(bucket, 'checkpoints/').length - checkpoints).toBeLessThan(12);
    expect((bucket.traffic.sentBytes - begun) / MOVES).toBeLessThan(4096 + seen.checkpointBytes / 8);
    expect((await newest(bucket)).content.packs.size).toBe(3000 + MOVES);
  });

  test('newest asks for a checkpoint once when it is kept, and again when what is kept is damaged', async () => {
    const bucket = await large();
    const kept = new Map<string, Uint8Array>();
    const states = new RemoteStates(bucket, {
      get: async (digest) => kept.get(digest),
      put: async (digest, bytes) => void kept.set(digest, bytes),
    });
    const requests = async () => {
      const before = bucket.traffic.requests;
      expect((await states.newest()).content.refs.size).toBe(60);
      return bucket.traffic.requests - before;
    };
    expect(await requests()).toBe(3);
    expect(await requests()).toBe(2);
    for (const bytes of kept.values()) bytes[5]! ^= 1;
    expect(await requests()).toBe(3);
    expect(await requests()).toBe(2);
  });

  test('newest refuses a state that says another number, as when one is put in the place of another', async () => {
    const bucket = await filled([moveOf('refs/heads/a', id(1)), moveOf('refs/heads/a', id(2))]);
    put(bucket, stateName(2), bucket.objects.get(stateName(1))!.bytes);
    await expect(newest(bucket)).rejects.toMatchObject({
      code: 'REMOTE_FAILED',
      message: expect.stringMatching(/holds state 1, not 2[^\n]*$/),
    });
  });

  test('newest refuses what is below states/ and is none', async () => {
    for (const name of ['states/!', 'states/0', 'states/.DS_Store', `states/${'0'.repeat(14)}x`]) {
      const bucket = await large();
      put(bucket, name, Buffer.from('{}'));
      await expect(newest(bucket)).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
    }
  });

  test('newest refuses numbers after which none can come, or that none comes before', async () => {
    for (const name of [`states/${'0'.repeat(15)}`, `states/${'9'.repeat(15)}`]) {
      const bucket = new MemoryBucket();
      const number = 10 ** 15 - 1 - Number(name.slice(STATES.length));
      put(bucket, name, Buffer.from(JSON.stringify({ number, changes: [] })));
      await expect(newest(bucket)).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
    }
  });

  test('newest refuses a checkpoint that is damaged, cut, swapped or gone', async () => {
    const whole = await large();
    const all = namesBelow(whole, 'checkpoints/');
    expect(all.length).toBeGreaterThan(1);
    const { state } = await newest(whole);
    const name = `checkpoints/${state.checkpoint}`;
    const { bytes } = whole.objects.get(name)!;
    const flipped = Uint8Array.from(bytes);
    flipped[bytes.length >> 1]! ^= 4;
    const other = whole.objects.get(all.find((each) => each !== name)!)!.bytes;
    for (const wrong of [flipped, bytes.subarray(0, -1), new Uint8Array(), other]) {
      put(whole, name, wrong);
      await expect(newest(whole)).rejects.toMatchObject({
        code: 'REMOTE_FAILED',
        message: expect.stringContaining('its bytes do not fit its name'),
      });
    }
    whole.objects.delete(name);
    await expect(newest(whole)).rejects.toMatchObject({ code: 'REMOTE_FAILED' });
  });

  test('newest reads the newer state when gc has removed the one that was listed', async () => {
    const bucket = await large();
    const get = bucket.get.bind(bucket);
    let isMoved = false;
    bucket.get = async (name, range) => {
      if (name === stateName(60) && !isMoved) {
        isMoved = true;
        const states = new RemoteStates(bucket);
        await states.publish(await states.newest(), moveOf('refs/heads/late', id(7)));
        bucket.objects.delete(name);
      }
      return get(name, range);
    };
    expect((await newest(bucket)).number).toBe(61);
  });

  test('publish gives no checkpoint a name that was used, also when refs go back to where they were', async () => {
    const bucket = new MemoryBucket();
    const states = new RemoteStates(bucket);
    const names: string[] = [];
    const put = bucket.put.bind(bucket);
    bucket.put = (name, body) => {
      names.push(name);
      return put(name, body);
    };
    for (let round = 0; round < 200; round++)
      await states.publish(await states.newest(), moveOf(`refs/heads/b${round % 5}`, id(5)));
    expect(names.length).toBeGreaterThan(2);
    expect(new Set(names).size).toBe(names.length);
  });

  test('newest takes no more of a state or checkpoint than one can have, whatever the list says', async () => {
    const MOST = 256 * 2 ** 20;
    for (const prefix of [STATES, 'checkpoints/']) {
      const bucket = await large();
      const asked: (number | undefined)[] = [];
      const get = bucket.get.bind(bucket);
      bucket.get = (name, range) => {
        if (name.startsWith(prefix)) asked.push(range?.length);
        return get(name, range);
      };
      await newest(bucket);
      expect(asked).toEqual([MOST + 1]);
    }
    const listed = await large();
    listed.list = async function* () {
      yield { name: stateName(61), size: MOST + 1, modified: new Date() };
    };
    await expect(newest(listed)).rejects.toThrow('too much for a state');
  });
});

describe('names of states', () => {
  test('stateNumber is the number that stateName was given, and later states come first', () => {
    const numbers = [1, 2, 9, 10, 99_999, 10 ** 9, 10 ** 14];
    const names = numbers.map(stateName);
    expect(names.map(stateNumber)).toEqual(numbers);
    expect(names.toSorted()).toEqual(names.toReversed());
  });

  test.each([
    'states/',
    'states/1',
    'states/0000000000000001',
    'x/states/000000000000001',
    'states/00000000000000x',
  ])('stateNumber knows none for %s', (name) => expect(stateNumber(name)).toBeUndefined());
});
