"""Recordings that other programs made, one file a format; `devices.files` tells them apart."""
