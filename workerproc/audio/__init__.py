"""Decodes an audio file to 16 kHz mono samples."""
