"""The ledger itself: its values, its rules and how it posts. No I/O: the repository implements the Protocols."""
