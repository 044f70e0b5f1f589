"""Captured hex in, samples, events and errors out; and what a scan makes of what it hears."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from innpar.devices.base import NS, BadPacket, NotFound, Refused
from innpar.devices.decode import decode, parse_line
from innpar.devices.link.ble import Sighting
from innpar.devices.link.discover import recognise, table
from innpar.devices.link.target import Target
from innpar.devices.sensors.oximeters import o2ring
from innpar.devices.sensors.polar import frames as pmd
from innpar.devices.sensors.polar.frames import MeasurementKind, Pulse
from innpar.devices.session.strict_json import strict_json
from innpar.devices.virtual.sensors.polar_encoder import encode, encode_pulses
from innpar.stream.cli.main import main

START = 1_790_000_000 * NS
SENSOR = 799_443_547 * NS
CHANNELS = ("pmd", "control", "hr", "battery")


def capture(frames: int, skip: tuple[int, ...] = ()) -> list[str]:
    """Return lines of 40-sample frames at 55 Hz, sample k with value k on every channel."""
    lines = []
    for f in range(frames):
        numbers = np.arange(40 * f, 40 * (f + 1))
        times = SENSOR + np.rint(numbers * NS / 55).astype(np.int64)
        raw, taken = encode(
            MeasurementKind.PPG, 0x80, times, np.repeat(numbers[:, None], 4, axis=1), 229
        )
        assert taken == 40
        arrival = START + int(times[-1]) - SENSOR
        if f not in skip:
            lines.append(f"{arrival // NS}.{arrival % NS:09d} {raw.hex(' ')}")
    return lines


@pytest.mark.parametrize(
    ("line", "channel", "arrival", "hexed"),
    [
        ("0102ff", "pmd", None, "0102ff"),
        ("01 02 FF\n", "pmd", None, "0102ff"),
        ("01:02-ff,03", "pmd", None, "0102ff03"),
        ("0x01 0x02", "pmd", None, "0102"),
        ("1790000000.25 0102", "pmd", START + NS // 4, "0102"),
        ("[4, 128, 0, 81, 255]", "pmd", None, "04800051ff"),
        ("1790000000.25 battery (87,)", "battery", START + NS // 4, "57"),
        (
            "22:02:00.493\tNotification received from 00002a35-0000-1000-8000-00805f9b34fb, "
            "value: (0x) 04-80-00-51",
            "pmd",
            None,
            "04800051",
        ),
        ("2026-09-21T14:13:20Z control f0", "control", START - 8_000 * NS + 8_000 * NS, "f0"),
        ("2026-09-21T14:13:20.5 battery 57", "battery", START + NS // 2, "57"),
    ],
)
def test_lines(line: str, channel: str, arrival: int | None, hexed: str) -> None:
    assert parse_line(line, CHANNELS) == (channel, arrival, bytes.fromhex(hexed))


@pytest.mark.parametrize(
    "line",
    [
        "zz",
        "012",
        "1790000000.5",
        "2026-99-01T00:00 01",
        "4 128 0 81",
        "4, 128, 0, 81",
        "[4, 128, 256]",
        "[4; 128]",
        "4 12 0 81",
        "1 2",
    ],
)
def test_lines_that_are_no_hex(line: str) -> None:
    if line == "1790000000.5":
        assert parse_line(line, CHANNELS)[2] == b""
        return
    with pytest.raises(BadPacket, match="not hex"):
        parse_line(line, CHANNELS)


@pytest.mark.parametrize("label", ["signal", "event", "error", "line", "channel_time"])
def test_labels_of_a_sender_never_take_our_keys(label: str) -> None:
    lines = [f"{label}:{k % 7},ir:{90_000 + k % 9}" for k in range(400)]
    reads = ["\n".join([*lines[k : k + 10], ""]).encode().hex() for k in range(0, 400, 10)]
    text = [f"{1_795_000_000 + n / 10:.4f} {read}" for n, read in enumerate(reads, 1)]
    found = [r for r in decode("serial", text) if "time" in r]
    assert {r["signal"] for r in found} == {"ppg"}
    assert all(r["time"] > NS for r in found)
    assert all(r["ir"] >= 90_000 for r in found)
    assert not any("event" in r or "error" in r for r in found)


def test_samples_and_gaps_with_receive_times() -> None:
    found = list(decode("polar-verity?rate=55", ["# a comment", "", *capture(10, skip=(4, 5))]))
    samples = [r for r in found if "time" in r]
    (gap,) = [r for r in found if r.get("event") == "gap"]
    assert [r["ppg1"] for r in samples] == [*range(160), *range(240, 400)]
    assert set(samples[0]) == {"time", "signal", "ppg0", "ppg1", "ppg2", "ambient"}
    assert gap["lost"] == 80
    assert gap["why"] == "samples did not arrive"
    times = np.array([r["time"] for r in samples])
    assert np.abs(times - START - np.array([r["ppg0"] for r in samples]) * NS / 55).max() < 1000


def test_without_receive_times_the_sensor_tells() -> None:
    lines = [line.split(" ", 1)[1] for line in capture(3)]
    times = [r["time"] for r in decode("polar", lines) if "time" in r]
    assert len(times) == 120
    assert times[-1] == SENSOR + round(119 * NS / 55) + pmd.EPOCH_2000


def test_a_single_frame_is_not_kept_back() -> None:
    assert len(list(decode("polar-verity", capture(1)))) == 40


def test_everything_else_that_a_sensor_says() -> None:
    lines = [
        "f0 02 01 00 00 05 01 00 00 80 3f",
        "f0 01 01 08 00",
        "0f6e02" + "00" * 14,
        "control 01 01",
        "battery 57",
        "hr 06 3c",
        encode_pulses(0, (Pulse(61, 980, 6, True, True),)).hex(),
        "01" + "00" * 8 + "052a000000",
        "01" + "00" * 8 + "99",
        "not hex",
    ]
    found = list(decode("polar-verity", lines))
    assert found[0] == {"control": "answer", "op": 2, "kind": 1, "error": 0, "factor": [1.0]}
    assert found[1]["error"] == 8
    assert found[2] == {"control": "features", "kinds": [1, 2, 3, 5, 6, 9]}
    assert found[3]["control"] == "other"
    assert "stopped sending PPG" in found[4]["text"]
    assert found[5]["percent"] == 87
    assert found[6] | {"start": 0, "end": 0} == {
        "event": "wear",
        "worn": True,
        "start": 0,
        "end": 0,
    }
    assert (found[7]["event"], found[7]["hr"]) == ("vitals", 60)
    assert found[8]["interval"] == 980
    assert found[9]["moving"] is True
    assert (found[10]["event"], found[10]["ms"]) == ("intervals", [980])
    assert found[11] == {"metadata": "0x05", "values": [42]}
    assert found[12] == {
        "error": "PPG frame of unknown type 0x99",
        "line": 9,
        "hex": "01" + "00" * 8 + "99",
    }
    assert found[13]["error"].startswith("not hex")
    assert len(found) == 14


def test_an_unknown_decoder_or_option() -> None:
    with pytest.raises(NotFound, match=r"polar-verty.*did you mean polar-verity"):
        list(decode("polar-verty", []))
    with pytest.raises(Refused, match=r"no option 'rat' \(did you mean rate\?\)"):
        list(decode("polar?rat=55", []))


def sighting(name: str, services: tuple[str, ...] = (), rssi: int = -60) -> Sighting:
    return Sighting(name, "A0:9E:1A:8A:3F:1B", rssi, services, None)  # type: ignore[arg-type]


def test_recognition() -> None:
    assert recognise(sighting("Polar Sense 8A3F1B2C")).device == "polar-verity:8A3F1B2C"
    assert recognise(sighting("Polar OH1 12345678")).device == "polar-oh1:12345678"
    cuff = recognise(sighting("X", ("00001810-0000-1000-8000-00805f9b34fb",)))
    assert cuff.device == "cuff:A0:9E:1A:8A:3F:1B"
    assert recognise(sighting("")).streams == ""


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("SleepU 1234", ""),
        ("SleepU 1234", "SleepU 1234"),
        ("WearO2 0815", "0815"),
        ("Oximeter", ""),
    ],
)
def test_one_oximeter_under_many_names(name: str, who: str) -> None:
    seen = sighting(name, (o2ring.SERVICE,))
    assert recognise(seen).device.startswith("o2ring:")
    kind = o2ring.family()
    assert Target(kind.name, who, kind.names, kind.services).matches(seen)
    assert not Target(kind.name, "9999", kind.names, kind.services).matches(seen)


def test_table() -> None:
    lines = table([recognise(sighting("Polar Sense 8A3F1B2C")), recognise(sighting(""))]).split(
        "\n"
    )
    assert lines[0].split() == ["NAME", "ADDRESS", "dBm", "--device", "STREAMS"]
    assert "polar-verity:8A3F1B2C" in lines[1]
    assert lines[2].split() == ["-", "A0:9E:1A:8A:3F:1B", "-60", "-"]
    assert table([]).startswith("nothing is advertising")


@pytest.mark.parametrize(("line", "status"), [("zz", 1), ("", 0)])
def test_a_file_of_which_nothing_can_be_decoded_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, status: int
) -> None:
    file = tmp_path / "captured"
    file.write_text(f"{line}\n")
    assert main(["decode", "polar-verity", str(file)]) == status
    assert ("not hex" in capsys.readouterr().out) == bool(status)


def test_a_file_that_is_no_text_is_an_error_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "capture"
    file.write_bytes(b"\xff\xfe\x00zz\n\x80\n" + b"8400054862" * 3 + b"8400054862\n")
    assert main(["decode", "berrymed", str(file)]) == 0

    def never(constant: str) -> None:
        raise ValueError(constant)

    lines = capsys.readouterr().out.splitlines()
    found = [json.loads(line, parse_constant=never) for line in lines]
    assert [r["line"] for r in found if "error" in r] == [1, 2]
    assert [r["pleth"] for r in found if "time" in r] == [None] * 4


def test_json_has_no_number_that_is_none() -> None:
    value = {"a": [1.5, float("nan")], "b": {"c": (float("inf"), None, True, "NaN")}}
    assert json.loads(strict_json(value)) == {
        "a": [1.5, None],
        "b": {"c": [None, None, True, "NaN"]},
    }
