"""The engine: faster-whisper and CTranslate2, with one model for many jobs."""
