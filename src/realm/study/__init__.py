"""Several runs together: compare finished ones, and search for better settings."""
