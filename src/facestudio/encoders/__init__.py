"""Encoders: pictures and words become vectors of RMS 1 per tower."""
