"""PostgreSQL: the only code that imports psycopg. It implements the Protocols that the ledger declares."""
