import { afterAll, beforeAll, expect, test } from 'vitest';
import { Libvirt } from './libvirt.ts';
import { DomainPlace } from './place.ts';
import { virshProxy, withVirsh } from './virsh-proxy.ts';

let libvirt: Libvirt;
beforeAll(async () => {
  libvirt = await Libvirt.start();
});
afterAll(() => libvirt.stop());

const CHANNEL = `<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>`;
/** The guest has no agent, so virsh says that there is one, and answers for it. */
const CONNECTED = { dumpxml: `real "$@" | sed "s/state='disconnected'/state='connected'/"` };
const DONE = 'true';

const withAgent = () => DomainPlace.running(libvirt, 1, CHANNEL);

/** What virsh is asked from the freeze or the backup to the thaw. */
function moment(commands: readonly string[]): string[] {
  return commands.filter((command) => /^(domfs|backup-begin)/.test(command));
}

test('commitDomain freezes the guest around the beginning of the backup, and nothing else', async () => {
  const place = await withAgent();
  const instead = { ...CONNECTED, domfsfreeze: DONE, domfsthaw: DONE };
  const proxy = virshProxy(place.made.file('proxy'), 0, 'before', ':', instead);
  await withVirsh(proxy, () => place.commitExactly());
  expect(moment(proxy.commands())).toEqual(['domfsfreeze', 'backup-begin', 'domfsthaw']);
});

test('commitDomain freezes nothing without an agent that is connected, or when it is told not to', async () => {
  const place = await withAgent();
  const proxy = virshProxy(place.made.file('proxy'), 0, 'before', ':');
  await withVirsh(proxy, () => place.commitExactly());
  const connected = virshProxy(place.made.file('connected'), 0, 'before', ':', CONNECTED);
  await withVirsh(connected, () => place.commitExactly({ freeze: false }));
  for (const { commands } of [proxy, connected]) expect(moment(commands())).toEqual(['backup-begin']);
});

test('commitDomain stores nothing when the guest cannot be frozen, and says what to do', async () => {
  const place = await withAgent();
  const refusal = "{ echo 'error: Unable to freeze filesystems' >&2; false; }";
  const instead = { ...CONNECTED, domfsfreeze: refusal, domfsthaw: DONE };
  const proxy = virshProxy(place.made.file('proxy'), 0, 'before', ':', instead);
  await expect(withVirsh(proxy, () => place.commit())).rejects.toMatchObject({
    code: 'LIBVIRT',
    message: `domain ${place.name}: virsh domfsfreeze: Unable to freeze filesystems: --no-freeze stores it as after a power failure`,
  });
  expect(moment(proxy.commands()).at(-1)).toBe('domfsthaw');
  await place.expectClean();
});

test('commitDomain thaws a guest that a killed commit has left frozen', async () => {
  const place = await withAgent();
  const thawed = place.made.file('thawed');
  const instead = {
    ...CONNECTED,
    domfsfreeze: `{ [ -e '${thawed}' ] || { echo 'error: it is frozen' >&2; false; }; }`,
    domfsthaw: `touch '${thawed}'`,
  };
  const proxy = virshProxy(place.made.file('proxy'), 0, 'before', ':', instead);
  await withVirsh(proxy, () => place.commitExactly());
  expect(moment(proxy.commands())).toEqual([
    'domfsfreeze',
    'domfsthaw',
    'domfsfreeze',
    'backup-begin',
    'domfsthaw',
  ]);
});

test('commitDomain thaws the guest when the backup cannot begin, and says when it cannot be thawed', async () => {
  const place = await withAgent();
  const fails = (words: string) => `{ echo 'error: ${words}' >&2; false; }`;
  const instead = {
    ...CONNECTED,
    domfsfreeze: DONE,
    'backup-begin': fails('no backup'),
    domfsthaw: fails('no thaw'),
  };
  const notices: string[] = [];
  const proxy = virshProxy(place.made.file('proxy'), 0, 'before', ':', instead);
  await expect(withVirsh(proxy, () => place.commit({}, notices))).rejects.toMatchObject({
    code: 'LIBVIRT',
    message: 'virsh backup-begin: no backup',
  });
  expect(notices).toEqual([
    expect.stringMatching(/^virsh domfsthaw: no thaw: the file systems of the guest may be frozen/),
  ]);
  await place.expectClean();
});
