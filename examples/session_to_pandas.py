"""Read a recorded session: what is in it, its beats, and five minutes as a pandas DataFrame.

    python examples/session_to_pandas.py FILE.mcap [BEGIN END]

`innpar-stream --device DEVICE --record FOLDER` records one. BEGIN and END are seconds after the
first sample. pandas comes with `scripts/setup export`.
"""

import sys

import innpar


def main(path: str, begin: str = "0", end: str = "300") -> None:
    with innpar.open_session(path) as session:
        for device in session.devices:
            ppg, beats = session.samples(device), session.beats(device)
            valid = sum(beat.valid for beat in beats)
            print(f"{device}: {len(ppg)} samples of {', '.join(ppg.channels)} at {ppg.rate:g} Hz")
            print(f"{device}: {len(beats)} beats, {valid} of them with pressures")
            frame = session.to_pandas(device, begin=float(begin), end=float(end))
            print(frame[["PPG", "ABP"]].describe().round(1))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except innpar.InnparError as error:
        sys.exit(str(error))
