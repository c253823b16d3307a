"""The ledger over gRPC: the routes of `service.api`, called with messages. The one package that imports grpc.

A method is the translation of a route: its message becomes the call that the route's handler takes, what that answers becomes
the method's message, and an error of the taxonomy becomes a status. So rules, validation, keys, scopes and idempotency cannot
differ from HTTP's. The process is not patched: threads, a bounded number of them.
"""
