"""Records, errors, files and run folders: what every other part builds on."""
