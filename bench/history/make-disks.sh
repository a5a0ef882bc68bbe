#!/bin/bash
# Makes a history of real Debian disks for comparisons of stored size:
#
#   web-1 … web-6   one server: installed, packages added, a database filled, written to while logs grow,
#                   upgraded, written to again
#   ci-1, lab-1     siblings: copies of web-1 that went other ways
#   apart-1         installed apart from web-2, with the same packages, on a file system of its own
#
# SOURCE_DATE_EPOCH is set as image builders set it, so that two installations of one kernel make the same initrd.
# APART_EPOCH gives the disk installed apart another date: its initrd is then another compressed stream.
#
#   next-1          web-1 after a small change: some packages, a database
#
# usage: make-disks.sh DIR [SIZE [NAME…]]     root, debootstrap, qemu-utils and 15 GB of space; about ten minutes
# All but next-1 are made when none is named; what a disk is made from must be there or named too.
# Debian's packages come from where this machine's apt takes them. A disk that is there is not made again.
set -euo pipefail

dir=$(realpath -m "${1:?usage: make-disks.sh DIR [SIZE [NAME…]]}")
size=${2:-4G}
wanted=" ${*:3} "
[ $# -gt 2 ] || wanted=" web-1 web-2 web-3 web-4 web-5 web-6 ci-1 lab-1 apart-1 "
root=$dir/mnt
mkdir -p "$dir" "$root"

site() { apt-get indextargets --format '$(SITE)' "Codename: $1" "Created-By: Packages" | sed -n 1p; }
. /etc/os-release
suite=$VERSION_CODENAME
main=$(site "$suite")
security=$(site "$suite-security")

leave() {
  for at in proc dev sys; do mountpoint -q "$root/$at" && umount -l "$root/$at"; done
  mountpoint -q "$root" && umount "$root"
  return 0
}
trap leave EXIT

enter() {
  mount -o loop,noatime "$1" "$root"
  [ -d "$root/proc" ] || return 0
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount --make-rslave "$root/dev"
}

epoch=1767225600

inside() {
  LC_ALL=C DEBIAN_FRONTEND=noninteractive HOME=/root SOURCE_DATE_EPOCH=$epoch chroot "$root" /bin/sh -ec "$1" >>"$dir/make.log" 2>&1
}

install_packages() { inside "apt-get -y --no-install-recommends install $*; apt-get clean"; }

# Writes what a day of a server's life writes: lines of a web server's log that look like real ones.
grow_logs() {
  python3 - "$root/var/log/access.log" "$1" "$2" <<'PY'
import random, sys
path, seed, lines = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
pages = ["/", "/index.html", "/login", "/api/v1/items", "/api/v1/users", "/static/app.js", "/static/site.css"]
with open(path, "a") as log:
    for n in range(lines):
        log.write("%d.%d.%d.%d - - [%02d/Nov/2026:%02d:%02d:%02d +0000] \"GET %s?id=%d HTTP/1.1\" %d %d \"-\" \"Mozilla/5.0\"\n" % (
            rng.randrange(1, 224), rng.randrange(256), rng.randrange(256), rng.randrange(256), seed, n // 3600 % 24,
            n // 60 % 60, n % 60, rng.choice(pages), rng.randrange(100000), rng.choice([200, 200, 200, 304, 404]),
            rng.randrange(200, 90000)))
PY
}

# A real database with an index, filled or updated at places all over it.
write_database() {
  cat >"$root/tmp/write.sql" <<SQL
pragma journal_mode=wal;
create table if not exists items(id integer primary key, owner text, body blob, changed integer);
create index if not exists by_owner on items(owner);
with recursive n(i) as (select 1 union all select i + 1 from n where i < $1)
insert into items(owner, body, changed) select hex(randomblob(6)), hex(randomblob(40)), i from n;
update items set changed = changed + 1, body = hex(randomblob(40)) where id % 97 = $2;
pragma wal_checkpoint(truncate);
SQL
  inside "mkdir -p /var/lib/app; sqlite3 /var/lib/app/app.db </tmp/write.sql; rm /tmp/write.sql"
}

new_disk() {
  truncate -s "$size" "$1"
  mkfs.ext4 -q -F "$1"
  enter "$1"
  debootstrap --variant=minbase --include=ca-certificates,systemd-sysv,sqlite3,openssh-server,vim-tiny,less \
    "$suite" "$root" "$main" >>"$dir/make.log" 2>&1
  leave
  enter "$1"
  install_packages linux-image-cloud-amd64 python3 perl
}

keep() {
  fstrim "$root" || true
  leave
  qemu-img convert -f raw -O qcow2 "$dir/work.raw" "$dir/$1.qcow2.part"
  mv "$dir/$1.qcow2.part" "$dir/$1.qcow2"
  echo "$1: $(stat -c %s "$dir/$1.qcow2") bytes"
}

back_to() {
  rm -f "$dir/work.raw"
  qemu-img convert -f qcow2 -O raw "$dir/$1.qcow2" "$dir/work.raw"
  enter "$dir/work.raw"
}

missing() { [[ $wanted == *" $1 "* ]] && [ ! -e "$dir/$1.qcow2" ]; }

if missing web-1; then new_disk "$dir/work.raw"; keep web-1; fi
if missing web-2; then
  back_to web-1
  install_packages nginx git build-essential
  grow_logs 1 150000
  keep web-2
fi
if missing web-3; then
  back_to web-2
  write_database 400000 5
  grow_logs 2 150000
  keep web-3
fi
if missing web-4; then
  back_to web-3
  write_database 20000 11
  grow_logs 3 150000
  keep web-4
fi
if missing web-5; then
  back_to web-4
  echo "deb $security $suite-security main" >"$root/etc/apt/sources.list.d/security.list"
  inside "apt-get update; apt-get -y --no-install-recommends dist-upgrade; apt-get clean"
  grow_logs 4 100000
  keep web-5
fi
if missing web-6; then
  back_to web-5
  write_database 20000 17
  install_packages php-cli redis-server
  grow_logs 5 100000
  keep web-6
fi
if missing ci-1; then
  back_to web-1
  install_packages build-essential cmake golang-go
  keep ci-1
fi
if missing lab-1; then
  back_to web-1
  install_packages nmap tcpdump python3-numpy mariadb-server
  keep lab-1
fi
if missing next-1; then
  back_to web-1
  install_packages git
  write_database 40000 5
  keep next-1
fi
if missing apart-1; then
  rm -f "$dir/work.raw"
  epoch=${APART_EPOCH:-$epoch}
  new_disk "$dir/work.raw"
  install_packages nginx git build-essential
  keep apart-1
fi
rm -f "$dir/work.raw"
