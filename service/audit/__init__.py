"""Seals over the log, and the examination of a ledger against them. Nothing here moves money or knows HTTP or SQL."""
