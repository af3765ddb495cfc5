"""How a final answer is read from free text, compared with the gold answer, and written."""
