-- name: renew_instance
-- As a PUT has it, where the lease has not ended.
UPDATE service_instances
SET address = %(address)s, lease_s = %(lease_s)s, metadata = %(metadata)s,
    expires_at = clock_timestamp() + make_interval(secs => %(lease_s)s)
WHERE ledger_id = %(ledger_id)s AND service = %(service)s AND id = %(instance_id)s AND expires_at > clock_timestamp()
RETURNING number, service, id, address, metadata, lease_s, registered_at, expires_at,
    extract(epoch FROM expires_at - clock_timestamp())::float8;

-- name: heartbeat_instance
UPDATE service_instances SET expires_at = clock_timestamp() + make_interval(secs => lease_s)
WHERE ledger_id = %(ledger_id)s AND service = %(service)s AND id = %(instance_id)s AND expires_at > clock_timestamp()
RETURNING number, service, id, address, metadata, lease_s, registered_at, expires_at,
    extract(epoch FROM expires_at - clock_timestamp())::float8;

-- name: lock_services
-- For the transaction: instances are added to a ledger one at a time, so that they can be counted.
SELECT pg_advisory_xact_lock(hashtextextended('ledgerd services', %(ledger_id)s));

-- name: count_instances
SELECT count(*) FROM service_instances WHERE ledger_id = %(ledger_id)s;

-- name: create_instance
-- There may be a row whose lease has ended: then this is another instance, which has come to the same id.
INSERT INTO service_instances (ledger_id, service, id, address, metadata, lease_s, expires_at)
VALUES (
    %(ledger_id)s, %(service)s, %(instance_id)s, %(address)s, %(metadata)s, %(lease_s)s,
    clock_timestamp() + make_interval(secs => %(lease_s)s)
)
ON CONFLICT (ledger_id, service, id) DO UPDATE
SET address = excluded.address, metadata = excluded.metadata, lease_s = excluded.lease_s,
    registered_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(secs => excluded.lease_s)
RETURNING number, service, id, address, metadata, lease_s, registered_at, expires_at,
    extract(epoch FROM expires_at - clock_timestamp())::float8;

-- name: delete_instance
DELETE FROM service_instances
WHERE ledger_id = %(ledger_id)s AND service = %(service)s AND id = %(instance_id)s AND expires_at > clock_timestamp()
RETURNING id;

-- name: delete_expired_instances
-- Of one ledger, or (null) of all. It waits for nobody: what is locked is being renewed or removed.
DELETE FROM service_instances WHERE (ledger_id, service, id) IN (
    SELECT ledger_id, service, id FROM service_instances
    WHERE expires_at <= clock_timestamp() AND ledger_id = coalesce(%(ledger_id)s, ledger_id)
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
);

-- name: find_instance
SELECT number, service, id, address, metadata, lease_s, registered_at, expires_at,
    extract(epoch FROM expires_at - clock_timestamp())::float8
FROM service_instances
WHERE ledger_id = %(ledger_id)s AND service = %(service)s AND id = %(instance_id)s AND expires_at > clock_timestamp();

-- name: list_instances
SELECT number, service, id, address, metadata, lease_s, registered_at, expires_at,
    extract(epoch FROM expires_at - clock_timestamp())::float8
FROM service_instances
WHERE ledger_id = %(ledger_id)s AND service = %(service)s AND number > %(after)s AND expires_at > clock_timestamp()
ORDER BY number LIMIT %(limit)s;

-- name: list_services
-- In the order of their oldest instances, the host's own among them.
SELECT service, count(*), min(number) AS first
FROM service_instances
WHERE ledger_id IN (0, %(ledger_id)s) AND expires_at > clock_timestamp()
GROUP BY service HAVING min(number) > %(after)s
ORDER BY first LIMIT %(limit)s;

-- name: find_addresses
-- Each once, with what is left of the longest lease on it; a renewal does not change the order.
SELECT address, extract(epoch FROM max(expires_at) - clock_timestamp())::float8
FROM service_instances
WHERE ledger_id = %(ledger_id)s AND service = %(service)s AND expires_at > clock_timestamp()
GROUP BY address ORDER BY min(number) LIMIT %(limit)s;
