-- name: server
SELECT pg_is_in_recovery() AS in_recovery, current_setting('default_transaction_read_only') AS read_only,
       current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()) AS encoding;

-- name: backend
SELECT pg_backend_pid() AS pid;

-- name: now
SELECT extract(epoch FROM clock_timestamp())::float8 AS epoch_s;

-- name: notify
SELECT pg_notify(%(channel)s, '');

-- name: prepared
SELECT %(number)s::int AS number;
