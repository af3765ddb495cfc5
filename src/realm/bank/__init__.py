"""The route bank: which routes may be shown, which are drawn, and what they are worth."""
