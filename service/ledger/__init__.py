"""The ledger itself: its values, its rules and the order in which it posts. No I/O: the repository implements the Protocols."""
