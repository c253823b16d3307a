"""WSGI middleware, one file each; `chain.py` lists them, outermost first."""
