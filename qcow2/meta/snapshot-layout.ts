/*
 * Entry of the snapshot table (specification, section "Snapshots"); each begins at a multiple of 8 from the start of
 * the table, and the table has no length of its own.
 *
 *    0  u64  l1_table_offset            32  u32  vm_state_size, if there is no extra data
 *    8  u32  l1_size (entries)          36  u32  extra_data_size
 *   12  u16  id_str_size                40       extra data, each field there if the size reaches it:
 *   14  u16  name_size                    40  u64  vm_state_size
 *   16  u32  date_sec                     48  u64  disk_size
 *   20  u32  date_nsec                    56  u64  icount, -1 if it was not counted
 *   24  u64  vm_clock_nsec            then       the id, the name
 */
export const L1_OFFSET_AT = 0;
export const L1_SIZE_AT = L1_OFFSET_AT + 8;
export const ID_SIZE_AT = L1_SIZE_AT + 4;
export const NAME_SIZE_AT = ID_SIZE_AT + 2;
export const DATE_SECONDS_AT = NAME_SIZE_AT + 2;
export const DATE_NANOSECONDS_AT = DATE_SECONDS_AT + 4;
export const VM_CLOCK_AT = DATE_NANOSECONDS_AT + 4;
export const VM_STATE_SIZE_AT = VM_CLOCK_AT + 8;
export const EXTRA_SIZE_AT = VM_STATE_SIZE_AT + 4;
export const EXTRA_AT = EXTRA_SIZE_AT + 4;
export const LARGE_VM_STATE_SIZE_AT = EXTRA_AT;
export const DISK_SIZE_AT = LARGE_VM_STATE_SIZE_AT + 8;
export const INSTRUCTIONS_AT = DISK_SIZE_AT + 8;
export const ENTRY_ALIGNMENT = 8;
