"""Teachers: whoever writes routes and guided chains of thought."""
