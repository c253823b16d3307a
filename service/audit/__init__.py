"""Proof that nothing was changed behind ledgerd's back: digests of files."""
