"""Does a change cost processor time? It beside its parent, in turns in one run; `make regress`."""
