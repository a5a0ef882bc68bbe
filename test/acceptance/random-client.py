"""Reads and writes an NBD export at odd offsets over several connections at once, by libnbd, and compares with the raw bytes.

usage: random-client.py URI RAW SEED ROUNDS [plain] [fixed-only]

RAW holds what the export shows, and is written over with what it must show in the end. An export that is for reading only is only read. `plain` asks for no structured
replies, `fixed-only` says no more in the handshake than it must. What does not agree ends it with an exception.
"""

import errno
import random
import sys

import nbd

URI, RAW, SEED, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
OPTIONS = sys.argv[5:]
CONNECTIONS = 4
IN_FLIGHT = 8
MOST_BYTES = 300_000

rng = random.Random(SEED)
model = bytearray(open(RAW, "rb").read())
size = len(model)


def connect():
    h = nbd.NBD()
    # What is wrong in a request is for the server to say.
    h.set_strict_mode(0)
    if "plain" in OPTIONS:
        h.set_request_structured_replies(False)
    else:
        h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    if "fixed-only" in OPTIONS:
        h.set_handshake_flags(nbd.HANDSHAKE_FLAG_FIXED_NEWSTYLE)
    h.connect_uri(URI)
    return h


handles = [connect() for _ in range(CONNECTIONS)]
assert all(h.get_size() == size for h in handles)
writable = not handles[0].is_read_only()
assert handles[0].can_multi_conn()
has_status = "plain" not in OPTIONS


def some_range():
    """Mostly odd, sometimes whole clusters, sometimes the very ends."""
    kind = rng.random()
    length = rng.choice([1, 511, 513, 4096, 65536, rng.randint(1, MOST_BYTES)])
    length = min(length, size)
    if kind < 0.1:
        return 0, length
    if kind < 0.2:
        return size - length, length
    at = rng.randrange(size - length + 1)
    if kind < 0.5:
        at -= at % 65536
    return at, length


def is_apart(ranges, at, length):
    return all(at + length <= other or other + count <= at for other, count in ranges)


def checked_status(at, length):
    """Remembers what a block status says, and checks it against the bytes when all has come."""
    said = []

    def extent(context, offset, entries, error):
        assert context == "base:allocation" and offset == at, (context, offset, at)
        said.extend(entries)
        return 0

    def check():
        assert said, "no extents"
        place = at
        for count, flags in zip(said[0::2], said[1::2]):
            assert count > 0
            end = min(place + count, size)
            if flags & nbd.STATE_ZERO:
                # What is hinted at past the range may have changed since.
                end = min(end, at + length)
                assert not any(model[place:end]), ("zeros", place, end)
            place = place + count

    return extent, check


def wave():
    """Several requests at once, of which no change meets anything else."""
    changed, looked, pending, checks = [], [], [], []
    for _ in range(CONNECTIONS * IN_FLIGHT):
        h = rng.choice(handles)
        at, length = some_range()
        verbs = ["read", "read", "status", "cache"]
        if writable:
            verbs += ["write", "write", "zero", "trim", "flush"]
        verb = rng.choice(verbs)
        if verb in ("write", "zero", "trim"):
            if not is_apart(changed + looked, at, length):
                continue
            changed.append((at, length))
        elif verb in ("read", "status"):
            if not is_apart(changed, at, length):
                continue
            looked.append((at, length))
        flags = nbd.CMD_FLAG_FUA if rng.random() < 0.1 and h.can_fua() else 0
        if verb == "read":
            buffer = nbd.Buffer(length)
            cookie = h.aio_pread(buffer, at)
            wanted = bytes(model[at : at + length])
            checks.append(lambda b=buffer, w=wanted, a=at: same(b.to_bytearray(), w, a))
        elif verb == "write":
            data = rng.randbytes(length) if rng.random() < 0.8 else bytes(length)
            model[at : at + length] = data
            cookie = h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), at, flags=flags)
        elif verb == "zero":
            model[at : at + length] = bytes(length)
            if rng.random() < 0.5:
                flags |= nbd.CMD_FLAG_NO_HOLE
            cookie = h.aio_zero(length, at, flags=flags)
        elif verb == "trim":
            # What was trimmed reads as zeros here.
            model[at : at + length] = bytes(length)
            cookie = h.aio_trim(length, at, flags=flags)
        elif verb == "flush":
            cookie = h.aio_flush()
        elif verb == "cache":
            if not h.can_cache():
                continue
            cookie = h.aio_cache(length, at)
        else:
            if not has_status:
                continue
            extent, check = checked_status(at, length)
            one = nbd.CMD_FLAG_REQ_ONE if rng.random() < 0.3 else 0
            cookie = h.aio_block_status(length, at, extent, flags=one)
            checks.append(check)
        pending.append((h, cookie))
    for h, cookie in pending:
        while not h.aio_command_completed(cookie):
            h.poll(-1)
    for check in checks:
        check()


def same(got, wanted, at):
    if got != wanted:
        bad = next(i for i in range(len(wanted)) if got[i] != wanted[i])
        raise AssertionError(f"byte {at + bad} is {got[bad]}, not {wanted[bad]}")


def refused(what, *numbers):
    """The connection goes on after it."""
    h = rng.choice(handles)
    try:
        what(h)
    except nbd.Error as error:
        assert error.errnum in numbers, (error.errnum, numbers, error.string)
    else:
        raise AssertionError(f"was not refused with {numbers}")


def wrong_requests():
    refused(lambda h: h.pread(512, size - 511), errno.EINVAL)
    refused(lambda h: h.pread(512, 2**63 - 512), errno.EINVAL)
    refused(lambda h: h.pread(512, 0, flags=nbd.CMD_FLAG_FAST_ZERO), errno.EINVAL)
    change = errno.ENOSPC if writable else errno.EPERM
    refused(lambda h: h.pwrite(bytearray(512), size - 511), change)
    refused(lambda h: h.zero(2**32 - 1, 1), change if writable else errno.EPERM)
    refused(lambda h: h.trim(2**32 - 1, 1), errno.EINVAL if writable else errno.EPERM)


for number in range(ROUNDS):
    wave()
    if number % 10 == 0:
        wrong_requests()
for h in handles:
    same(h.pread(min(size, 2**20), 0), model[: 2**20], 0)
if writable:
    handles[0].flush()
for at in range(0, size, 2**20):
    same(handles[-1].pread(min(2**20, size - at), at), model[at : at + 2**20], at)
extended = getattr(handles[0], "get_extended_headers_negotiated", lambda: False)()
print(f"{ROUNDS} rounds, {'structured' if handles[0].get_structured_replies_negotiated() else 'simple'} replies, "
      f"{'extended' if extended else 'compact'} headers")
for h in handles:
    h.shutdown()
with open(RAW, "wb") as file:
    file.write(model)
