"""What verbs share: asking a running service, helper processes, submission, and how a verb gives up."""
