"""INN-PAR and its exact fold."""
