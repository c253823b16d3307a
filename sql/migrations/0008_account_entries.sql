-- Each transfer as each of its two accounts sees it. The planner reads either side along its own index, and merges the two by
-- the account's version.

CREATE VIEW account_entries AS
SELECT ledger_id, from_account_id AS account_id, from_version AS version, 'debit' AS direction, from_balance AS balance,
       to_account_id AS other_account_id, id, from_account_id, to_account_id, amount, asset, reference, metadata,
       from_version, to_version, from_balance, to_balance, created_at
FROM transfers
UNION ALL
SELECT ledger_id, to_account_id, to_version, 'credit', to_balance,
       from_account_id, id, from_account_id, to_account_id, amount, asset, reference, metadata,
       from_version, to_version, from_balance, to_balance, created_at
FROM transfers;
