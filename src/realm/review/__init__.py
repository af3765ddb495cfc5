"""A person reads problems, routes and answers, and corrects their labels."""
