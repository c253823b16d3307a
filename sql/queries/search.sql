-- name: search_words
-- The rarest word decides: up to a thousand of those that have a word beginning with it, and of them those that have the
-- others too; first those with the most whole words among what was asked. How many have a word is counted no further than
-- that. The longest is no sign of it: in an email it is the provider's domain as a rule, which thousands share.
WITH asked AS MATERIALIZED (
    SELECT word, row_number() OVER (ORDER BY seen, length(word) DESC, word) AS place
    FROM (
        SELECT word FROM unnest(search_words_of(%(text)s)) AS word ORDER BY length(word) DESC, word LIMIT 8
    ) AS longest, LATERAL (
        SELECT count(*) AS seen
        FROM (
            SELECT FROM search_words
            WHERE ledger_id = %(ledger_id)s
              AND search_words.word >= longest.word AND search_words.word < (longest.word || chr(1114111))
            LIMIT 1001
        ) AS few
    ) AS often
), found AS MATERIALIZED (
    SELECT DISTINCT hit.kind, hit.id
    FROM asked, LATERAL (
        SELECT kind, id FROM search_words
        WHERE ledger_id = %(ledger_id)s AND word >= asked.word AND word < (asked.word || chr(1114111))
        ORDER BY word, kind, id LIMIT 1000
    ) AS hit
    WHERE asked.place = 1
)
SELECT found.kind, found.id, sum(fit.whole) = count(*) AS whole
FROM found CROSS JOIN asked, LATERAL (
    SELECT max((word = asked.word)::int) AS whole FROM search_words
    WHERE ledger_id = %(ledger_id)s AND kind = found.kind AND id = found.id
      AND word >= asked.word AND word < (asked.word || chr(1114111))
) AS fit
GROUP BY found.kind, found.id
HAVING count(fit.whole) = count(*)
ORDER BY sum(fit.whole) DESC, found.kind DESC, found.id
LIMIT %(limit)s;

-- name: search_references
-- By how the reference begins, ASCII letters in upper and lower case being equal.
SELECT id, lower(reference) = lower(%(text)s) AS whole
FROM transfers
WHERE ledger_id = %(ledger_id)s AND reference IS NOT NULL
  AND lower(reference) ~>=~ lower(%(text)s) AND lower(reference) ~<~ (lower(%(text)s) || chr(1114111))
ORDER BY lower(reference) USING ~<~, id
LIMIT %(limit)s;

-- name: search_users_by_ids
SELECT id, name, email, metadata, version, created_at, updated_at
FROM users WHERE ledger_id = %(ledger_id)s AND id = ANY (%(ids)s::bigint[]);

-- name: search_accounts_by_ids
SELECT id, user_id, asset, balance, held, min_balance, max_balance, status, version, settings_version, metadata,
       created_at, updated_at
FROM accounts WHERE ledger_id = %(ledger_id)s AND id = ANY (%(ids)s::bigint[]);

-- name: search_transfers_by_ids
SELECT id, from_account_id, to_account_id, amount, asset, reference, coalesce(metadata, '{}'), from_version, to_version,
       from_balance, to_balance, created_at, kind, from_held, resolves_id, expires_at, linked_id, resolved_by_id, resolved_as
FROM transfers AS told
LEFT JOIN LATERAL (SELECT id AS resolved_by_id, kind AS resolved_as FROM transfers
                   WHERE ledger_id = told.ledger_id AND resolves_id = told.id OFFSET 0) AS later ON true
WHERE ledger_id = %(ledger_id)s AND id = ANY (%(ids)s::bigint[]);
