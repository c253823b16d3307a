"""Proof that nothing was changed behind ledgerd's back: seals over the log, their examination, digests of files."""
