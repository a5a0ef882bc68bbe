import { expect, onTestFinished, test } from 'vitest';
import { GuestAgent } from '../../../nbd/index.ts';
import { type Answer, END, type FakeCommand, fakeMonitor, SILENCE } from './fake-monitor.ts';

const QUICK = { label: 'agent', syncSeconds: 0.2, freezeSeconds: 0.2 };

/** An agent, and the names of the commands that it has got. */
async function agentThat(answers: Readonly<Record<string, (command: FakeCommand) => Answer>>) {
  const heard: string[] = [];
  const path = await fakeMonitor(SILENCE, (command) => {
    heard.push(command.execute);
    const answer = answers[command.execute];
    if (answer !== undefined) return answer(command);
    if (command.execute !== 'guest-sync-delimited') return '{"return": 3}\n';
    const text = `${JSON.stringify({ return: command.arguments?.id })}\n`;
    return Buffer.concat([Buffer.from([0xff]), Buffer.from(text)]);
  });
  return { path, heard };
}

const connect = async (path: string): Promise<GuestAgent> => {
  const agent = await GuestAgent.connect({ path }, QUICK);
  onTestFinished(() => agent.close());
  return agent;
};

test('freeze and thaw ask the agent, each once', async () => {
  const { path, heard } = await agentThat({});
  const agent = await connect(path);
  expect(await agent.freeze()).toBe(3);
  await agent.thaw();
  expect(heard.filter((command) => command !== 'guest-sync-delimited')).toEqual([
    'guest-fsfreeze-freeze',
    'guest-fsfreeze-thaw',
  ]);
});

test('connect passes over replies to what others have asked', async () => {
  const { path } = await agentThat({
    'guest-sync-delimited': ({ arguments: given }) =>
      Buffer.from(`{"return": 7}\n\xff{"return": ${String(given?.id)}}\n`, 'latin1'),
  });
  expect(await (await connect(path)).freeze()).toBe(3);
});

test.each<[string, Answer, RegExp]>([
  [
    'says nothing',
    SILENCE,
    /has not answered guest-sync-delimited for 0\.2 s: is it running in the guest\?$/,
  ],
  ['closes', END, /the connection was closed by the other side/],
  ['sends garbage', 'garbage\n', /no JSON object/],
])('connect throws QMP when the agent %s', async (_, answer, message) => {
  const { path } = await agentThat({ 'guest-sync-delimited': () => answer });
  await expect(GuestAgent.connect({ path }, QUICK)).rejects.toMatchObject({ code: 'QMP', message });
});

test.each<[string, Answer, RegExp]>([
  [
    'refuses',
    '{"error": {"class": "GenericError", "desc": "disabled"}}\n',
    /refuses guest-fsfreeze-freeze: disabled$/,
  ],
  ['says nothing', SILENCE, /has not answered guest-fsfreeze-freeze/],
  ['answers with nonsense', '{"return": {}}\n', /does not say how many/],
])('freeze throws QMP when the agent %s, and thaw is possible', async (_, answer, message) => {
  const { path, heard } = await agentThat({ 'guest-fsfreeze-freeze': () => answer });
  const agent = await connect(path);
  await expect(agent.freeze()).rejects.toMatchObject({ code: 'QMP', message });
  await agent.thaw();
  expect(heard.at(-1)).toBe('guest-fsfreeze-thaw');
});
