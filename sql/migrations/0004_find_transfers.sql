-- Transfers by their time in the whole ledger, and by the client's own reference: exact, or how it begins in any case.

CREATE INDEX transfers_by_time ON transfers (ledger_id, created_at, id);
CREATE INDEX transfers_by_reference ON transfers (ledger_id, lower(reference) text_pattern_ops, id)
    WHERE reference IS NOT NULL;
