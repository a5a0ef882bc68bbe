import { statSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { deviceNumber } from '../../block/index.ts';

/** What makedev(3) of glibc does. */
function makeDevice(major: bigint, minor: bigint): bigint {
  return (
    ((major & 0xfffff000n) << 32n) |
    ((major & 0xfffn) << 8n) |
    ((minor & 0xffffff00n) << 12n) |
    (minor & 0xffn)
  );
}

test('deviceNumber gives 8 and 1 when the device is the first partition of a SCSI disk', () => {
  expect(deviceNumber(0x801n)).toEqual({ major: 8, minor: 1 });
});

test('deviceNumber gives 1 and 3 when the device is /dev/null', () => {
  expect(deviceNumber(statSync('/dev/null', { bigint: true }).rdev)).toEqual({ major: 1, minor: 3 });
});

test('deviceNumber takes apart what makedev put together, for every number that Linux gives out', () => {
  // The kernel keeps 12 bits of major and 20 of minor.
  const major = fc.oneof(fc.nat(0xfff), fc.constantFrom(0, 0xff, 0x100, 0xfff));
  const minor = fc.oneof(fc.nat(0xfffff), fc.constantFrom(0, 0xff, 0x100, 0xfff, 0x1000, 0xfffff));
  fc.assert(
    fc.property(major, minor, (ma, mi) => {
      expect(deviceNumber(makeDevice(BigInt(ma), BigInt(mi)))).toEqual({ major: ma, minor: mi });
    }),
  );
});
