"""Looks at the GPUs through NVML, in a process of its own: a driver call may never return.

Imports the contract and itself, nothing else of ours.
"""
