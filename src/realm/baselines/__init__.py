"""Other ways to use the same problems and routes; one comparison a file."""
