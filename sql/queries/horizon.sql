-- name: last_drawn_id
SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM transfers_id_seq;

-- name: draw_transaction
SELECT pg_current_xact_id()::text;

-- name: all_have_ended
-- Whether every transaction before this one has.
SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %(transaction)s::xid8;
