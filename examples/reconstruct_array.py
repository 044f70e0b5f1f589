"""Reconstruct the arterial pressure of an array of PPG.

    python examples/reconstruct_array.py [FILE RATE]

FILE is a text file with one sample a line, RATE its sampling rate in Hz; without one, the pulse is
synthetic. Replace CUFF by a reading taken during the recording: without one, the pressures carry
little of the absolute level.
"""

import sys

import numpy as np

import innpar

CUFF, AT = (128, 79), 15.0  # mmHg, seconds after the first sample


def synthetic(seconds: float = 60, rate: float = 100, pulse: float = 1.2) -> np.ndarray:
    """Return a pulse wave of three harmonics, (samples,), any unit; `pulse` in Hz."""
    phase = 2 * np.pi * pulse * np.arange(seconds * rate) / rate
    return np.sin(phase) + 0.4 * np.sin(2 * phase - 1.0) + 0.15 * np.sin(3 * phase - 1.8)


def main() -> None:
    ppg, rate = synthetic(), 100.0
    if len(sys.argv) == 3:
        ppg, rate = np.loadtxt(sys.argv[1]), float(sys.argv[2])

    result = innpar.reconstruct(ppg, rate, cuff=CUFF, at=AT)

    print(result)
    for beat in result.beats[-5:]:
        if beat.valid:
            print(f"{beat.time:6.2f} s  {beat.sbp:3.0f}/{beat.dbp:.0f} mmHg  HR {beat.hr:.0f}")
        else:
            print(f"{beat.time:6.2f} s  {', '.join(beat.reasons)}")
    share = np.isfinite(result.abp).mean()
    print(f"a waveform of {len(result.time)} samples at {result.rate:g} Hz, {share:.0%} accepted")


if __name__ == "__main__":
    main()
