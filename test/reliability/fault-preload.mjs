/**
 * Loaded before the command line (`node --import …/fault-preload.mjs dist/cmd/main.js …`): does to this process what IMGSTORE_TEST_FAULT says.
 *
 * `kill@N` kills it at the N-th point that it passes, from 0; `stop@NAME` stops it (SIGSTOP) at the first point of that name, until it is told to go on (SIGCONT).
 *
 * @module
 */
import { watchPoints } from '../../dist/files/index.js';

const SIGNALS = { kill: 'SIGKILL', stop: 'SIGSTOP' };

const [, action, where] = /^(kill|stop)@(.+)$/.exec(process.env.IMGSTORE_TEST_FAULT ?? '') ?? [];
if (action === undefined) throw new Error('IMGSTORE_TEST_FAULT: kill@N or stop@NAME');

let passed = 0;
let struck = false;

watchPoints((point) => {
  if (struck || (String(passed++) !== where && point !== where)) return;
  struck = true;
  process.kill(process.pid, SIGNALS[action]);
});
