"""The engine faster-whisper: its own code, step by step, with CTranslate2's calls batched."""
