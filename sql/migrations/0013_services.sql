-- Services: where their instances are, each for as long as its lease goes on by this database's clock. One whose time is over is
-- there no more, whether its row has been removed or not.
--
-- The ledger 0 is the host's own and has no row in ledgers, hence no foreign key. expires_at is in no index, so a renewal is an
-- update in place (HOT): heartbeats are nearly all that ever happens here.

CREATE TABLE service_instances (
    ledger_id      bigint NOT NULL,
    number         bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    registered_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at     timestamptz NOT NULL,
    lease_s        integer NOT NULL,
    service        text COLLATE "C" NOT NULL,
    id             text COLLATE "C" NOT NULL,
    address        text NOT NULL,
    metadata       jsonb NOT NULL,
    CONSTRAINT service_instances_pkey PRIMARY KEY (ledger_id, service, id),
    CONSTRAINT service_instances_ledger_range CHECK (ledger_id >= 0),
    CONSTRAINT service_instances_service_shape CHECK (service ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    CONSTRAINT service_instances_id_shape CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$'),
    CONSTRAINT service_instances_address_length CHECK (length(address) BETWEEN 1 AND 512),
    CONSTRAINT service_instances_lease_range CHECK (lease_s BETWEEN 1 AND 3600)
) WITH (fillfactor = 70);
