-- name: role
SELECT current_user AS name, current_database() AS database, current_schema() AS schema,
       rolsuper AS is_superuser, rolreplication AS replicates, rolcreaterole AS makes_roles,
       has_parameter_privilege(current_user, 'session_replication_role', 'SET') AS silences_triggers,
       pg_has_role(current_user, 'pg_execute_server_program', 'USAGE')
           OR pg_has_role(current_user, 'pg_write_server_files', 'USAGE') AS leaves_the_database,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS may_create
FROM pg_roles WHERE rolname = current_user;

-- name: rights
-- to_regclass finds only what the search path and the rights on its schemas let this role see.
SELECT relation, privilege, to_regclass(relation) IS NOT NULL AS is_seen,
       CASE WHEN privilege = 'USAGE' THEN has_sequence_privilege(to_regclass(relation)::oid, privilege)
            ELSE has_table_privilege(to_regclass(relation)::oid, privilege) END AS is_granted
FROM unnest(%(relations)s::text[], %(privileges)s::text[]) AS needed (relation, privilege);

-- name: functions
SELECT proname AS name, prosrc AS body, has_function_privilege(oid, 'EXECUTE') AS is_granted
FROM pg_proc WHERE proname = ANY (%(names)s) AND pronamespace = current_schema()::regnamespace;

-- name: owners
-- Whose tables this role cannot alter; a migration must be able to.
SELECT relation, relowner::regrole::text AS owner
FROM unnest(%(relations)s::text[]) AS needed (relation) JOIN pg_class ON pg_class.oid = to_regclass(relation)
WHERE NOT pg_has_role(current_user, relowner, 'USAGE');

-- name: guards
SELECT tgname AS name, tgenabled AS state FROM pg_trigger
WHERE tgname = ANY (%(names)s) AND tgrelid = to_regclass(%(relation)s);
