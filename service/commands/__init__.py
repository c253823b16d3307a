"""The subcommands of `ledgerd` that manage what is in the database, one module a noun. `cli.py` puts them together."""
