"""Live arterial blood pressure from a light sensor on the wrist.

Every error that a user can put right is an `InnparError`; its message ends with what to do::

    InnparError
    ├── devices.DeviceError      a device, file or stream
    │   ├── NotFound             not there: switch it on, put it closer, check the path
    │   ├── Refused              there, but it said no: the message names the remedy
    │   ├── Lost                 was there: reconnecting is under way or was given up
    │   └── BadPacket            a frame or row that cannot be decoded: counted and skipped
    ├── models.ModelError        a model file, checkpoint or manifest
    │   └── DataError            training recordings
    └── stream
        ├── ConfigError          a flag, file or environment variable
        ├── BrokerError          the MQTT broker
        └── SessionError         a recorded session
"""

from __future__ import annotations


class InnparError(Exception):
    """Base of the errors that a user can put right."""
