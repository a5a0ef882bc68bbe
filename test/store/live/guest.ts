/**
 * A guest without a system: code of a boot sector, for two disks, which counts for ever. For n = 1, 2, … it writes a sector full of n, one write after the
 * other, to a place of 64 on the first disk, to sector 1 of the first disk, and to sector 1 of the second. When it starts again it goes on from sector 1 of the first disk.
 *
 *     start:  xorw %ax,%ax            next:   incl %ebp               disk:   movl %eax,lba
 *             movw %ax,%ds                    movl %ebp,%eax                  movw $packet,%si
 *             movw %ax,%es                    movw $0x8000,%di                movb %bh,%ah
 *             movw %ax,%ss                    movw $128,%cx                   movb $0,%al
 *             movw $0x7c00,%sp                rep stosl                       pushw %bx
 *             cld                             movl %ebp,%eax                  pushw %dx
 *             movl $1,%eax                    andl $63,%eax                   pushl %ebp
 *             movb $0x42,%bh  # read          imull $24,%eax                  int $0x13
 *             movb $0x80,%dl                  addl $2048,%eax                 popl %ebp
 *             call disk                       movb $0x43,%bh                  popw %dx
 *             movl 0x8000,%ebp                movb $0x80,%dl                  popw %bx
 *             movl $1,%eax                    call disk               stop:   jc stop
 *             movb $0x43,%bh  # write         movl $1,%eax                    ret
 *             movb $0x81,%dl                  movb $0x80,%dl          packet: .byte 16,0
 *             call disk                       call disk                       .word 1, 0x8000, 0
 *                                             movl $1,%eax            lba:    .long 0, 0
 *                                             movb $0x81,%dl
 *                                             call disk
 *                                             jmp next
 */
const CODE =
  '31c08ed88ec08ed0bc007cfc66b801000000b742b280e85000668b2e008066b801000000b743b281e83e0066456689e8bf0080b9800066f3ab' +
  '6689e86683e03f666bc018660500080000b743b280e8180066b801000000b280e80d0066b801000000b281e80200ebc266a3897cbe817c88fcb0' +
  '0053526655cd13665d5a5b72fec310000100008000000000000000000000';

const SECTOR = 512;
const PLACES = 64;
const FIRST_PLACE = 2048;
const PLACE_SECTORS = 24;

/** Sector 0 of the first disk. */
export function bootSector(): Buffer {
  const sector = Buffer.alloc(SECTOR);
  sector.write(CODE, 'hex');
  sector.writeUInt16BE(0x55aa, SECTOR - 2);
  return sector;
}

/**
 * Fails unless two disks hold what the guest has written up to one moment, and returns how far it was.
 * @throws Error that says where it is not so
 */
export function countedTo(first: Buffer, second: Buffer): number {
  const n = sectorValue(first, 1);
  const other = sectorValue(second, 1);
  if (other !== n && other !== n - 1) throw new Error(`the disks have ${n} and ${other}`);
  for (let place = 0; place < PLACES; place++) {
    const found = sectorValue(first, FIRST_PLACE + place * PLACE_SECTORS);
    const last = n - ((((n - place) % PLACES) + PLACES) % PLACES);
    // The next one may be written before the sector that counts.
    const isNext = (n + 1) % PLACES === place && found === n + 1;
    if (!isNext && found !== Math.max(0, last)) throw new Error(`at ${n}, place ${place} has ${found}`);
  }
  return n;
}

/** The number that a sector is full of. */
function sectorValue(disk: Buffer, sector: number): number {
  const bytes = disk.subarray(sector * SECTOR, (sector + 1) * SECTOR);
  const value = bytes.readUInt32LE(0);
  for (let at = 0; at < SECTOR; at += 4)
    if (bytes.readUInt32LE(at) !== value) throw new Error(`sector ${sector} has ${value} and another number`);
  return value;
}
