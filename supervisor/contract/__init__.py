"""Definitions that all processes of a host share.

Imports only the standard library. Every room may import it; it imports no other room.
"""
