"""The worker's main program, and the transcription of one job."""
