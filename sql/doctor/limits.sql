-- name: connections
-- What is granted to this role in this database, and how many of that others hold. A limit of -1 is none.
SELECT least(
           current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
               - coalesce(current_setting('reserved_connections', true)::int, 0),
           nullif(rolconnlimit, -1), nullif(datconnlimit, -1)
       ) AS granted,
       (SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND NOT starts_with(application_name, %(mine)s)) AS others
FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database();

-- name: ages
SELECT datname AS database, age(datfrozenxid) AS transactions, mxid_age(datminmxid) AS multixacts
FROM pg_database WHERE datallowconn ORDER BY age(datfrozenxid) DESC;

-- name: autovacuum
SELECT current_setting('autovacuum') AS autovacuum, current_setting('track_counts') AS track_counts;

-- name: long_sessions
-- A transaction that stays open keeps dead rows from being removed, and whoever reads the log of transfers behind it.
SELECT pid, coalesce(usename, '?') AS role, coalesce(nullif(application_name, ''), '?') AS application, state,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS open_s
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'
  AND xact_start < clock_timestamp() - make_interval(secs => %(longest_s)s)
ORDER BY xact_start LIMIT 20;

-- name: prepared_transactions
SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8 AS open_s
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => %(longest_s)s)
ORDER BY prepared LIMIT 20;
