"""ledgerd: a ledger of users, accounts and transfers over HTTP on PostgreSQL."""

__version__ = "0.1.0"
