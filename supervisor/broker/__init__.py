"""The broker process: queue, leases, records, audio download and transcript upload.

`python -m supervisor.broker` runs the service process; the command line's verbs use the same package in
short-lived processes. Only the modules in `backends/` that talk to AWS import boto3.
"""
