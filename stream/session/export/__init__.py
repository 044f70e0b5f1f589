"""A session in other people's formats: tables, EDF+, WFDB, XDF, FHIR, and a DataFrame."""
