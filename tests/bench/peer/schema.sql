-- The peer's tables: what its two routes need, with a primary key each and no rule.
CREATE TABLE users (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name   text NOT NULL,
    email  text NOT NULL UNIQUE
);
CREATE TABLE accounts (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    balance  bigint NOT NULL DEFAULT 0
);
CREATE TABLE transfers (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_account_id  bigint NOT NULL,
    to_account_id    bigint NOT NULL,
    amount           bigint NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now()
);
