"""Monitors the GPUs through NVML in a separate process, because a driver call may never return.

Imports nothing but the contract.
"""
