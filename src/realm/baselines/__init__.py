"""Other methods on the same problems and routes: a file for each one that trains."""
