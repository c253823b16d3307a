"""What is told of a ledger: its events, read from its own rows."""
