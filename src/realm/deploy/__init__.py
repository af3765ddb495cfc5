"""A finished model in use: ask it, talk to it, serve it, export it."""
