-- Every worker keeps users, and hears of each change of one here: its ledger, its id, and the transaction, by which a worker
-- knows its own changes. A new user is in nobody's cache.

CREATE FUNCTION tell_of_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('ledgerd_users', format('%s:%s:%s', OLD.ledger_id, OLD.id, pg_current_xact_id()));
    RETURN NULL;
END $$;
CREATE TRIGGER users_tell AFTER UPDATE OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION tell_of_user();
