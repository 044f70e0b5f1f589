"""Reconstruct a minute of synthetic PPG with the installed library; print beats and pressures."""

from pathlib import Path

import numpy as np

import innpar

RATE = 100  # Hz
PULSE = 1.2  # Hz

time = np.arange(60 * RATE) / RATE
phase = 2 * np.pi * PULSE * time
ppg = np.sin(phase) + 0.4 * np.sin(2 * phase - 1.0) + 0.15 * np.sin(3 * phase - 1.8)
result = innpar.reconstruct(ppg, rate=RATE, cuff=(128, 79), at=15.0)
pressure = np.asarray(result.abp)
pressure = pressure[np.isfinite(pressure)]
assert len(result.beats) > 40, f"{len(result.beats)} beats in 60 s at {60 * PULSE:.0f} a minute"
assert 40 < pressure.min() < pressure.max() < 220, f"{pressure.min()} to {pressure.max()} mmHg"
span = f"{pressure.min():.0f} to {pressure.max():.0f} mmHg"
print(f"innpar.reconstruct: {len(result.beats)} beats, {span} ({Path(innpar.__path__[0])})")
