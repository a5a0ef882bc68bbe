#!/bin/bash
# What packing costs after each of many small commits to a store that is large already: it should follow the size of the commit.
#
# usage: small-commits.sh STORE DISK WORK [COMMITS] [imgstore…]
#   STORE    a packed store; it is copied       DISK   a qcow2 that is committed there, with 50 writes of 4 KiB more each time
#   WORK     is made, and takes what STORE and DISK take
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
store=$(realpath "${1:?usage: small-commits.sh STORE DISK WORK [COMMITS] [imgstore…]}")
disk=$(realpath "${2:?}")
work=$(realpath -m "${3:?}")
commits=${4:-50}
shift $(($# < 4 ? $# : 4))
imgstore=("$@")
[ ${#imgstore[@]} -gt 0 ] || imgstore=(node "$here/../../dist/cmd/main.js")
mkdir -p "$work"
cd "$work"
cp -r "$store" .imgstore
git -C .imgstore config imgstore.autoPack 0
cp "$disk" small.qcow2
"${imgstore[@]}" commit --quiet -b small small.qcow2
"${imgstore[@]}" --quiet pack
size=$(qemu-img info --output json small.qcow2 | grep -m1 -o '"virtual-size": [0-9]*' | grep -o '[0-9]*$')

field() { grep -o "\"$1\": *[0-9.]*" | head -1 | grep -o '[0-9.]*$'; }

printf '%s\t%s\t%s\t%s\t%s\n' commit new_objects packed_objects packs seconds | tee results.tsv
for ((n = 1; n <= commits; n++)); do
  writes=()
  for ((i = 0; i < 50; i++)); do
    offset=$((((RANDOM << 30 | RANDOM << 15 | RANDOM) % (size / 4096)) * 4096))
    writes+=(-c "write -q -P $((RANDOM % 255 + 1)) $offset 4096")
  done
  qemu-io "${writes[@]}" small.qcow2
  new=$("${imgstore[@]}" commit --json -b small small.qcow2 | field newObjects)
  packed=$("${imgstore[@]}" --json pack)
  printf '%s\t%s\t%s\t%s\t%s\n' "$n" "$new" "$(field objects <<<"$packed")" "$(field packs <<<"$packed")" \
    "$(field seconds <<<"$packed")" | tee -a results.tsv
done
awk -F'\t' 'NR > 1 { new += $2; packed += $3; seconds += $5 }
  END { printf "%d new objects, %d packed (%.1f times), %.2f s a commit\n", new, packed, packed / new, seconds / (NR - 1) }' results.tsv
git -C .imgstore fsck --full --strict
