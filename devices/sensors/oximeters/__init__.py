"""Pulse oximeters: BerryMed, Contec, Nonin, Wellue O2Ring."""
