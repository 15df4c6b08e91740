"""All network and all memory of work: queue, leases, records, audio in, transcripts out.

One process (`python -m supervisor.broker`), and short-lived verbs of the command line in
the same room. Imports `supervisor.contract` and itself; boto3 in the `aws*` side alone.
"""
