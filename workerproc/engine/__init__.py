"""faster-whisper and CTranslate2: one model, many jobs."""
