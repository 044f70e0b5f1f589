"""The INN-PAR network and its exact fold."""
