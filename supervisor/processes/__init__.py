"""Child processes: started, read, signalled, reaped. The only room that does so."""
