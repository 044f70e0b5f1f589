"""Sensors without a radio, worn by nobody: the tests' fixture and the product behind --virtual.

A `Peripheral` (`verity.VirtualPolar`) is what a sensor is and does, with faults on demand; a radio
puts it on the air: `bumble_radio` two virtual controllers in this process, `bluez` a fake BlueZ on
a private D-Bus for unmodified bleak. `worn.Worn` wraps both around a `Device`.
"""
