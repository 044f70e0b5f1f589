"""Virtual sensors on virtual radios: test fixtures, and the implementation of ``--virtual``.

A `Peripheral` (such as `sensors.polar.VirtualPolar`) simulates a sensor, with faults on demand. A
radio makes it available: `radio.bumble_radio` by virtual controllers in this process, `radio.bluez`
by a fake BlueZ on a private D-Bus for unmodified bleak. `device.VirtualDevice` combines both with
the sensor's real driver.
"""
