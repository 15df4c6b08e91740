"""The interfaces to queue, table and object store, and the types that all backends share."""
