"""Nothing leaves the outbox before its acknowledgement, and a killed process loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.outgoing.outbox import Outbox, Pending
from innpar.stream.mqtt.outgoing.spool import Spool


def note(number: int, topics: int = 1, size: int = 0) -> Parcel:
    payload = f"{number}".encode().ljust(size, b" ")
    return Parcel(tuple(f"t{k}" for k in range(topics)), payload, headers=(("seq", f"{number}"),))


def numbers(parcels: Iterable[Pending]) -> list[int]:
    return [int(pending.parcel.payload) for pending in parcels]


def take_all(outbox: Outbox) -> list[Pending]:
    taken = []
    while (pending := outbox.take()) is not None:
        taken.append(pending)
    return taken


def deliver_all(outbox: Outbox) -> list[int]:
    delivered = []
    while (pending := outbox.take()) is not None:
        delivered.append(pending)
        for _ in pending.parcel.topics:
            outbox.acknowledge(pending)
    return numbers(delivered)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


def test_what_was_not_acknowledged_is_sent_again_in_order(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    for number in range(5):
        outbox.put(note(number))
    first, second, *_ = take_all(outbox)
    outbox.acknowledge(first)
    outbox.acknowledge(second)
    outbox.link_lost()
    outbox.put(note(5))
    assert len(outbox) == outbox.spooled == 4
    outbox.link_found()
    assert deliver_all(outbox) == [2, 3, 4, 5]
    assert (len(outbox), outbox.dropped, files(tmp_path)) == (0, 0, [])


def test_a_parcel_for_two_topics_stays_until_both_have_it(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    outbox.put(note(0, topics=2))
    (pending,) = take_all(outbox)
    outbox.acknowledge(pending)
    assert len(outbox) == 1
    outbox.acknowledge(pending)
    assert len(outbox) == 0


def test_a_spooled_parcel_comes_back_as_it_was(tmp_path: Path) -> None:
    parcel = Parcel(
        ("a/b", "ä"), b"\x00\xff\n", "text/plain", 1, True, True, 7, (("unit", "mm[Hg]"),)
    )
    outbox = Outbox(Spool(tmp_path))
    outbox.put(parcel)
    outbox.close()
    again = Outbox(Spool(tmp_path)).take()
    assert again is not None
    assert again.parcel == parcel


def test_a_wearer_with_many_waveforms_costs_the_others_none() -> None:
    outbox = Outbox(None, volatile=3)
    waves = {
        name: [
            Parcel((f"bp/devices/{name}/abp",), b"%d" % n, qos=0, durable=False)
            for n in range(count)
        ]
        for name, count in (("a", 9), ("b", 2), ("c", 1))
    }
    for one in (*waves["a"], *waves["b"], *waves["c"]):
        outbox.put(one)
    assert (outbox.volatile, outbox.dropped_volatile) == (6, 6)
    a, b, c = waves["a"][6:], waves["b"], waves["c"]
    expected = [a[0], b[0], c[0], a[1], b[1], a[2], None]
    assert [outbox.take_volatile() for _ in expected] == expected


def test_waveforms_are_dropped_oldest_first_and_counted() -> None:
    outbox = Outbox(None, volatile=3)
    waves = [Parcel(("w",), b"%d" % n, qos=0, durable=False) for n in range(5)]
    for one in waves:
        outbox.put(one)
    assert outbox.take_volatile() == waves[2]
    outbox.link_lost()
    outbox.put(waves[0])
    assert (outbox.take_volatile(), outbox.dropped_volatile) == (None, 5)


def test_without_a_disk_the_oldest_go_and_are_counted() -> None:
    outbox = Outbox(None, memory=10)
    outbox.link_lost()
    for number in range(25):
        outbox.put(note(number))
    assert (len(outbox), outbox.dropped) == (10, 15)
    assert deliver_all(outbox) == list(range(15, 25))


def test_a_full_spool_drops_its_oldest_and_counts_each(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path, limit=64 * 1024))
    outbox.link_lost()
    for number in range(1000):
        outbox.put(note(number, size=200))
    on_disk = sum(path.stat().st_size for path in files(tmp_path))
    assert on_disk <= 64 * 1024
    outbox.link_found()
    delivered = deliver_all(outbox)
    assert delivered == list(range(1000 - len(delivered), 1000))
    assert outbox.dropped == 1000 - len(delivered) > 0


def test_a_torn_last_record_is_skipped_wherever_it_was_torn(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "whole")
    ends = [spool.append(f"record {n}".encode() * 5).offset for n in range(3)]
    spool.close()
    (segment,) = files(tmp_path / "whole")
    data = segment.read_bytes()
    for cut in range(ends[1], len(data) + 1):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / segment.name).write_bytes(data[:cut])
        torn = Spool(folder)
        whole = 3 if cut == len(data) else 2
        assert len(torn) == torn.unread == whole
        torn.append(b"next")
        read = [found[0] for found in iter(torn.read, None)]
        assert read[-1] == b"next"
        assert len(read) == whole + 1
        torn.close()


def test_a_flipped_bit_costs_only_the_rest_of_its_segment(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit=64 * 1024)
    for number in range(60):
        spool.append(f"{number:4d}".encode() * 50)
    spool.close()
    first, second, *_ = files(tmp_path)
    data = bytearray(first.read_bytes())
    in_first = len(data) // 208
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    again = Spool(tmp_path, limit=64 * 1024)
    read = [int(found[0][:4]) for found in iter(again.read, None)]
    assert read[: read.index(in_first)] == list(range(in_first // 2))
    assert read[read.index(in_first) :] == list(range(in_first, 60))
    assert second.exists()


def test_damage_while_running_is_counted_and_passed_over(tmp_path: Path) -> None:
    outbox = Outbox(Spool(tmp_path))
    outbox.link_lost()
    for number in range(4):
        outbox.put(note(number))
    (segment,) = files(tmp_path)
    os.truncate(segment, len(segment.read_bytes().rstrip(b"\0")) - 3)
    outbox.put(note(4))
    assert deliver_all(outbox) == [0, 1, 2]
    outbox.put(note(5))
    assert deliver_all(outbox) == [5]
    assert (outbox.dropped, len(outbox)) == (2, 0)


KILLED = """
import os, signal, sys
from pathlib import Path
from innpar.stream.mqtt.outgoing.outbox import Outbox
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.outgoing.spool import Spool
outbox = Outbox(Spool(Path(sys.argv[1])))
for number in range(300):
    outbox.put(Parcel(("t",), b"%d" % number))
outbox.link_lost()
for number in range(300, 600):
    outbox.put(Parcel(("t",), b"%d" % number))
outbox.link_found()
for _ in range(100):
    outbox.acknowledge(outbox.take())
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_kill_9_the_next_process_has_the_rest_and_nothing_twice(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    outbox = Outbox(Spool(tmp_path))
    assert deliver_all(outbox) == list(range(100, 600))
    assert files(tmp_path) == []


FULL_DISK = """
import resource, sys
from pathlib import Path
from innpar.stream.mqtt.outgoing.outbox import Outbox
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.outgoing.spool import Spool
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
outbox = Outbox(Spool(Path(sys.argv[1])), memory=50)
outbox.link_lost()
for number in range(200):
    outbox.put(Parcel(("t",), b"%d" % number))
outbox.link_found()
got = []
while (pending := outbox.take()) is not None:
    got.append(int(pending.parcel.payload))
    outbox.acknowledge(pending)
assert got == sorted(set(got)), got
assert len(got) + outbox.dropped == 200, (len(got), outbox.dropped)
print(len(got))
"""


@pytest.mark.parametrize("room", [0, 1500])
def test_a_full_disk_loses_some_counts_them_and_says_so_once(tmp_path: Path, room: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), str(max(room, 30))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
    assert done.stderr.count("free some disk space") == 1


SMALL_DISK = """
import os, sys
from pathlib import Path
from innpar.stream.mqtt.outgoing.outbox import Outbox
from innpar.stream.messages.parcel import Parcel
from innpar.stream.mqtt.outgoing.spool import Spool

folder, other = Path(sys.argv[1]) / "spool", Path(sys.argv[1]) / "other"
full_first = sys.argv[2] == "full-first"
outbox = Outbox(Spool(folder, limit=1 << 20), memory=50)


def fill():
    with other.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError as error:
            print(error.strerror, file=sys.stderr)


def put(begin, end):
    for number in range(begin, end):
        outbox.put(Parcel(("t",), b"%d" % number, headers=(("pad", "x" * 900),)))


put(0, 10)
if full_first:
    fill()
outbox.link_lost()
put(10, 60)
if not full_first:
    fill()
put(60, 400)
most = len(outbox) - outbox.spooled
dropped = outbox.dropped
got = []
for again in range(3):  # the connection comes and goes while the disk stays full
    outbox.link_found()
    sent = [outbox.take() for _ in range(20)]
    for pending in sent[:10]:
        got.append(int(pending.parcel.payload))
        outbox.acknowledge(pending)
    outbox.link_lost()
put(400, 420)
outbox.link_found()
while (pending := outbox.take()) is not None:
    got.append(int(pending.parcel.payload))
    outbox.acknowledge(pending)
assert got == list(range(420 - len(got), 420)), got
assert len(got) + outbox.dropped == 420, (len(got), outbox.dropped)
assert most <= 50 + 64, most
other.unlink()
outbox.link_lost()
put(420, 500)
outbox.close()
outbox = Outbox(Spool(folder, limit=1 << 20), memory=50)
rest = []
while (pending := outbox.take()) is not None:
    rest.append(int(pending.parcel.payload))
    outbox.acknowledge(pending)
assert rest == list(range(420, 500)), rest
print(len(got))
"""


@pytest.mark.parametrize("when", ["full-first", "full-later"])
def test_a_disk_that_fills_up_costs_the_oldest_only_and_no_acknowledgement_fails(
    tmp_path: Path, when: str
) -> None:
    mount = f"mount -t tmpfs -o size=256k none {tmp_path} && exec {sys.executable} - {tmp_path}"
    alone = ["unshare", "-rm", "sh", "-c"]
    possible = [*alone, f"mount -t tmpfs -o size=256k none {tmp_path}"]
    if subprocess.run(possible, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk of its own (unshare -rm)")
    done = subprocess.run(
        [*alone, f"{mount} {when}"],
        input=SMALL_DISK,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("No space left on device\n") == 1
    assert int(done.stdout) >= 100
    assert done.stderr.count("free some disk space") >= 1


actions = st.lists(
    st.sampled_from(
        ["put", "put", "put", "take", "ack", "ack", "lose", "find", "spill", "restart"]
    ),
    max_size=80,
)


@given(actions=actions, memory=st.integers(1, 10))
@settings(max_examples=200, deadline=None)
def test_in_any_course_of_events_nothing_is_lost_or_out_of_order(
    actions: list[str], memory: int
) -> None:
    with TemporaryDirectory() as name:
        outbox = Outbox(Spool(Path(name)), memory=memory)
        sent: list[Pending] = []
        put, arrived = 0, []
        for action in actions:
            if action == "put":
                outbox.put(note(put))
                put += 1
            elif action == "take" and (pending := outbox.take()) is not None:
                sent.append(pending)
            elif action == "ack" and sent:
                pending = sent.pop(0)
                arrived.append(int(pending.parcel.payload))
                outbox.acknowledge(pending)
            elif action == "lose":
                sent.clear()
                outbox.link_lost()
            elif action == "find":
                outbox.link_found()
            elif action == "spill":
                outbox.spill()
            elif action == "restart":
                sent.clear()
                outbox.close()
                outbox = Outbox(Spool(Path(name)), memory=memory)
        sent_numbers = numbers(sent)
        rest = sent_numbers + deliver_all(outbox)
        assert arrived + rest == list(range(put))
        assert outbox.dropped == 0
        outbox.close()
