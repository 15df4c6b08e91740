"""What the broker needs of a queue, a table and an object store; the words of all backends."""
