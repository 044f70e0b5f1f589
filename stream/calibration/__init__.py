"""The cuff reading: how it enters, how it bears on the pressures, how it is kept."""
