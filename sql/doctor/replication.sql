-- name: standbys
SELECT coalesce(nullif(application_name, ''), 'pid ' || pid) AS name, host(client_addr) AS address, state, sync_state,
       pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(replay_lsn, flush_lsn))::bigint AS lag_bytes,
       extract(epoch FROM coalesce(replay_lag, flush_lag))::float8 AS lag_s
FROM pg_stat_replication ORDER BY 1;

-- name: replication
SELECT current_setting('synchronous_standby_names') AS synchronous_standby_names,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_others, current_user AS role;

-- name: primary_position
SELECT (pg_control_system()).system_identifier::text AS system, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS bytes;

-- name: replica_position
SELECT (pg_control_system()).system_identifier::text AS system, pg_is_in_recovery() AS is_replica,
       pg_wal_lsn_diff(coalesce(pg_last_wal_replay_lsn(), '0/0'), '0/0')::bigint AS bytes,
       extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 AS since_s;

-- name: slots
-- What each slot that nobody reads makes the server keep.
SELECT slot_name AS name, wal_status, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint AS kept_bytes
FROM pg_replication_slots WHERE NOT active AND NOT temporary ORDER BY 1;
