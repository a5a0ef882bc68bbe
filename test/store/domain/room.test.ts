import { afterAll, beforeAll, expect, test } from 'vitest';
import { smallFolder } from '../../block/small-folder.ts';
import { qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { Libvirt } from './libvirt.ts';
import { DomainPlace } from './place.ts';
import { virshProxy, withVirsh } from './virsh-proxy.ts';

let libvirt: Libvirt;
beforeAll(async () => {
  libvirt = await Libvirt.start();
});
afterAll(() => libvirt.stop());

test('commitDomain gives up before the folder for scratch files is full, and the guest’s writes do not fail', async (context) => {
  const place = await DomainPlace.create(libvirt, 1, '-o', 'cluster_size=2M');
  const [image] = place.images;
  const scratch = smallFolder(`${place.folder}/scratch`, '96M');
  if (scratch === undefined) return context.skip('no file system can be mounted here');
  await qemuImg('resize', '-q', image!, '64M');
  await qemuIo(image!, 'write -P 5 0 48M');
  await place.define();
  await place.start();
  const device = '/machine/peripheral/virtio-disk0/virtio-backend';
  // The guest overwrites 40 MiB when the disk is held and before it is read.
  const write = `qemu-io -d ${device} \\"write -P 6 0 40M\\"`;
  const act = `real "$1" "$2" "$3" qemu-monitor-command ${place.name} --hmp "${write}"; sleep 0.5`;
  const proxy = virshProxy(place.made.file('proxy'), 'backup-begin', 'after', act);
  await expect(withVirsh(proxy, () => place.commit({ scratch }))).rejects.toMatchObject({
    code: 'IO',
    data: { path: expect.any(String), free: expect.any(Number) },
  });
  await place.expectClean();
  expect(await place.checkpoints()).toEqual([]);
  await place.io(0, 'read -P 6 0 40M');
  await place.commitExactly();
});
