"""Monitors the GPUs through NVML in a separate process, because a driver call may never return.

Imports the contract and itself, nothing else of ours.
"""
