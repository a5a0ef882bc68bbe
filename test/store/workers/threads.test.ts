import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { Threads } from '../../../store/workers/threads.ts';
import { tempFolder } from '../../qcow2/qemu.ts';

const file = tempFolder();

/** Threads that answer by this function of `name` and `job`. */
function threadsThat(name: string, body: string, count = 2): Threads {
  const path = file(`${name}.mjs`);
  writeFileSync(
    path,
    `import { parentPort, threadId } from 'node:worker_threads';
     const work = async (name, job) => { ${body} };
     parentPort.on('message', async ({ number, name, job }) => parentPort.postMessage([number, { value: await work(name, job) }]));
     parentPort.postMessage('ready');`,
  );
  const threads = new Threads(pathToFileURL(path), count);
  onTestFinished(() => threads.close());
  return threads;
}

test('Threads.run gives each job its own answer, whatever the order in which they end', async () => {
  const threads = threadsThat(
    'echo',
    'await new Promise((done) => setTimeout(done, job % 7)); return [name, job];',
    3,
  );
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => threads.run('job', i)));
  expect(answers).toEqual(Array.from({ length: 50 }, (_, i) => ({ value: ['job', i] })));
});

test('Threads.run gives jobs to all threads', async () => {
  const threads = threadsThat('who', 'await new Promise((done) => setTimeout(done, 5)); return threadId;');
  const answers = await Promise.all(Array.from({ length: 8 }, () => threads.run('job', 0)));
  expect(new Set(answers.map((answer) => 'value' in answer && answer.value)).size).toBe(2);
});

test('Threads.isReady becomes true when a thread has come up', async () => {
  const threads = threadsThat('ready', 'return 1;');
  expect(threads.isReady).toBe(false);
  await threads.run('job', 0);
  expect(threads.isReady).toBe(true);
});

test.each([
  [
    'throws',
    'throws',
    "setTimeout(() => { throw new Error('broken'); }); return new Promise(() => {});",
    'broken',
  ],
  ['exits', 'exits', 'process.exit(3);', 'exit code 3'],
  ['cannot be loaded', 'loads', "} ; throw new Error('at the start'); {", 'at the start'],
])('Threads.run fails all jobs when a thread %s', async (_, name, body, message) => {
  const threads = threadsThat(name, body);
  const results = await Promise.allSettled(Array.from({ length: 9 }, (_, i) => threads.run('job', i)));
  for (const result of results) {
    expect(result.status).toBe('rejected');
    expect(String((result as PromiseRejectedResult).reason)).toContain(message);
  }
  // None is there to answer later ones.
  await expect(threads.run('job', 9)).rejects.toThrow(message);
});
