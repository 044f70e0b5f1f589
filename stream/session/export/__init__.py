"""Export a session as tables, EDF+, WFDB, XDF, FHIR or a DataFrame."""
