"""Notices of EC2 interruptions and of lifecycle actions on this machine."""
