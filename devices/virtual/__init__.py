"""Virtual sensors and radios: the tests' fixture, and the devices behind ``--virtual``.

A sensor in `sensors` behaves as the real one does, with faults on demand. A radio in `radio` puts
it on the air: two virtual controllers in this process, or a fake BlueZ on a private D-Bus for
unmodified bleak. `device.VirtualDevice` makes a `Device` of both and the real driver.
"""
