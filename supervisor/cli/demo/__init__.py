"""The `demo` verb."""
