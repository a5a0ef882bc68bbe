#!/bin/bash
# Makes the disks of a comparison without root: an ext4 of some of this machine's own files, and a version of it with some more.
#
# usage: plain-disks.sh DIR     e2fsprogs and qemu-utils
set -euo pipefail

dir=$(realpath -m "${1:?usage: plain-disks.sh DIR}")
mkdir -p "$dir/tree"
cp -r --no-preserve=ownership /usr/bin /usr/lib/python3* "$dir/tree/" 2>/dev/null || true

make_disk() {
  rm -f "$dir/work.raw"
  truncate -s 4G "$dir/work.raw"
  mke2fs -q -F -t ext4 -d "$dir/tree" "$dir/work.raw"
  qemu-img convert -f raw -O qcow2 "$dir/work.raw" "$dir/$1.qcow2"
}

make_disk web-1
cp -r --no-preserve=ownership /usr/share/perl* "$dir/tree/" 2>/dev/null || true
make_disk next-1
rm -rf "$dir/work.raw" "$dir/tree"
