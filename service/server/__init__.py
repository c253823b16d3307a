"""The server: gunicorn with our worker, and the supervisor behind `ledgerd serve`.

`python -m service.server` is gunicorn alone. Its first process must never import the application: gevent patches each worker
after the fork, and psycopg decides at its import how to wait.
"""
