-- name: send_beat
-- Nothing is lost with it, so nobody waits for the disk.
SELECT set_config('synchronous_commit', 'off', true), pg_notify(%(channel)s, %(payload)s);
