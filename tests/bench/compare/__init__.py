"""ledgerd beside a plain Go program on one PostgreSQL, under one load, in turns; `make compare`."""
