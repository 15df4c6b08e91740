"""The `doctor` verb and its checks."""
