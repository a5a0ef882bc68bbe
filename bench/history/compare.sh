#!/bin/bash
# Compares what a history of disks takes in imgstore and in other tools, on the disks of make-disks.sh:
#
#   imgstore commit + pack     restic (compression max)     borg (zstd,3; default chunker and fixed,65536)
#   casync                     git repack -adf --window=50 of the same imgstore store
#
# usage: compare.sh DISKS WORK [imgstore…]     WORK is made and removed; the last arguments run imgstore (default: this build)
# Needs restic, borgbackup, casync and git, and some 15 GB in WORK. Every tool gets the same qcow2 files, oldest first.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
disks=$(realpath "${1:?usage: compare.sh DISKS WORK}")
work=$(realpath -m "${2:?usage: compare.sh DISKS WORK}")
shift 2
imgstore=("$@")
[ ${#imgstore[@]} -gt 0 ] || imgstore=(node "$here/../../dist/cmd/main.js")
order=(web-1 web-2 web-3 web-4 web-5 web-6 ci-1 lab-1 apart-1)
mkdir -p "$work"
cd "$work"
results=$work/results.tsv
: >"$results"

bytes() { du -s --block-size=1 "$@" | awk '{sum += $1} END {print sum}'; }
note() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" | tee -a "$results"; }
timed() {
  local start=$(date +%s.%N)
  "$@" >/dev/null 2>>"$work/log"
  echo "$(date +%s.%N) - $start" | bc
}

commit_all() {
  "${imgstore[@]}" init --quiet
  commit_disks "${order[@]}"
}

commit_disks() {
  local disk
  for disk; do
    case $disk in
      web-*) "${imgstore[@]}" commit --quiet -b web "$disks/$disk.qcow2" ;;
      apart-*) "${imgstore[@]}" commit --quiet -b apart "$disks/$disk.qcow2" ;;
      *) "${imgstore[@]}" commit --quiet -b "${disk%-1}" --parent web~5 "$disks/$disk.qcow2" ;;
    esac
  done
}

run_imgstore() {
  mkdir -p imgstore && cd imgstore
  seconds=$(timed commit_all)
  cd ..
  note 'imgstore, committed' "$(bytes imgstore/.imgstore)" "$seconds"
  cp -r imgstore/.imgstore repacked
  seconds=$(timed "${imgstore[@]}" --store "$work/imgstore/.imgstore" pack)
  note 'imgstore, packed' "$(bytes imgstore/.imgstore)" "$seconds"
  git -C imgstore/.imgstore fsck --full --strict
}

run_git() {
  seconds=$(timed git -C repacked repack -adf --window=50 -q)
  note 'git repack -adf --window=50' "$(bytes repacked)" "$seconds"
}

# What the disk that was installed apart adds to the packed store of the others, with deltas and without.
run_apart() {
  mkdir -p apart && cd apart
  "${imgstore[@]}" init --quiet
  commit_disks "${order[@]:0:${#order[@]}-1}"
  "${imgstore[@]}" --quiet pack
  local others with without
  others=$(bytes .imgstore/objects)
  commit_disks apart-1
  cp -r .imgstore without.imgstore
  git -C without.imgstore config imgstore.packDepth 0
  "${imgstore[@]}" --quiet pack
  "${imgstore[@]}" --quiet --store without.imgstore pack
  with=$(($(bytes .imgstore/objects) - others))
  without=$(($(bytes without.imgstore/objects) - others))
  cd ..
  echo "apart-1 adds $((with / 1000000)) MB, without deltas $((without / 1000000)) MB: $(bc <<<"scale=3; $with / $without")"
}

run_aggressive() {
  seconds=$(timed "${imgstore[@]}" --store "$work/imgstore/.imgstore" pack --aggressive)
  note 'imgstore, pack --aggressive' "$(bytes imgstore/.imgstore)" "$seconds"
}

restic_all() {
  local disk
  for disk in "${order[@]}"; do restic -r restic backup --compression max "$disks/$disk.qcow2"; done
}

run_restic() {
  export RESTIC_PASSWORD=bench RESTIC_CACHE_DIR=$work/restic-cache
  restic -r restic init --repository-version 2 >/dev/null
  seconds=$(timed restic_all)
  note 'restic, compression max' "$(bytes restic)" "$seconds"
}

borg_all() {
  local disk
  for disk in "${order[@]}"; do borg create --compression zstd,3 "${@:2}" "$1::$disk" "$disks/$disk.qcow2"; done
}

run_borg() {
  export BORG_BASE_DIR=$work/borg-base BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
  local name=$1
  shift
  borg init -e none "$name"
  seconds=$(timed borg_all "$name" "$@")
  note "borg zstd,3 ${*:-(default chunker)}" "$(bytes "$name")" "$seconds"
}

casync_all() {
  local disk
  for disk in "${order[@]}"; do casync make --store=casync/store.castr "casync/$disk.caibx" "$disks/$disk.qcow2"; done
}

run_casync() {
  mkdir -p casync
  seconds=$(timed casync_all)
  note 'casync' "$(bytes casync)" "$seconds"
}

run_imgstore
run_borg borg-fixed --chunker-params fixed,65536
run_borg borg-default
run_restic
run_casync
run_git
run_aggressive
run_apart

echo
ours=$(awk -F'\t' '$1 == "imgstore, packed" {print $2}' "$results")
awk -F'\t' -v ours="$ours" '
  BEGIN { printf "%-44s %10s %9s %14s\n", "", "MB", "seconds", "imgstore is" }
  { printf "%-44s %10.1f %9.1f %13.3fx\n", $1, $2 / 1e6, $3, ours / $2 }' "$results"
