"""Virtual Bluetooth: a Bumble radio and a fake BlueZ."""
