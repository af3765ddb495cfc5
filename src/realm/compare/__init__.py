"""`realm compare`: methods x seeds x modes at equal budgets, with what a sceptic asks of the figures."""
