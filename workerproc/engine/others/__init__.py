"""Engines that transcribe one window of speech per call: openai-whisper, whisper.cpp."""
