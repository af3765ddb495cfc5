"""`realm doctor`: find what would stop a run on this machine before it starts."""
