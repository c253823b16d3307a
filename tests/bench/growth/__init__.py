"""How ledgerd does as its tables grow, and what becomes of them under a month's changes."""
