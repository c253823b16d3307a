"""What the database lets this role do: all that the service needs, and not more."""

from __future__ import annotations

from service.concurrency.context import Context
from service.doctor.examine import Examination, Group, Verdicts
from service.doctor.subject import Subject
from service.doctor.verdict import ok, problem, warning

NEEDED = {
    "ledgers": ("SELECT", "INSERT"),
    "api_keys": ("SELECT", "INSERT", "UPDATE"),
    "secrets": ("SELECT",),
    "users": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "accounts": ("SELECT", "INSERT", "UPDATE"),
    "transfers": ("SELECT", "INSERT"),
    "transfers_id_seq": ("USAGE", "SELECT"),
    "account_changes": ("SELECT", "INSERT"),
    "idempotency_keys": ("SELECT", "INSERT"),
    "open_holds": ("SELECT", "INSERT", "DELETE"),
    "bulk_chunks": ("SELECT", "INSERT"),
    "seals": ("SELECT", "INSERT"),
    "webhooks": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "webhook_deliveries": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "service_instances": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "search_words": ("SELECT", "INSERT", "DELETE"),
    "schema_migrations": ("SELECT",),
    "schema_functions": ("SELECT",),
}
FUNCTIONS = ("post_transfers", "post_bulk", "entries_before")
GUARDS = {  # trigger -> table: what keeps the log append-only, whoever writes
    "transfers_append_only": "transfers",
    "account_changes_append_only": "account_changes",
    "idempotency_keys_append_only": "idempotency_keys",
    "bulk_chunks_append_only": "bulk_chunks",
    "seals_append_only": "seals",
    "accounts_are_kept": "accounts",
}
ALWAYS_FIRES = ("O", "A")  # pg_trigger.tgenabled: by default, or even while replicating


def rights(ctx: Context, subject: Subject) -> Verdicts:
    """Each table with each thing that the service does to it."""
    database = subject.database
    pairs = [(relation, privilege) for relation, privileges in NEEDED.items() for privilege in privileges]
    rows = database.rows(ctx, "rights", relations=[r for r, _ in pairs], privileges=[p for _, p in pairs])
    role = database.row(ctx, "role")
    unseen = sorted({row.relation for row in rows if not row.is_seen})
    if len(unseen) == len(NEEDED):
        return problem(f"{role.name} sees no table of ledgerd in schema {role.schema}", "run `ledgerd migrate`")
    lacking = [f"{row.privilege} on {row.relation}" for row in rows if row.is_seen and not row.is_granted]
    lacking += [f"{relation} (not there, or not to be seen)" for relation in unseen]
    granted = {row.name for row in database.rows(ctx, "functions", names=list(FUNCTIONS)) if row.is_granted}
    lacking += [f"EXECUTE on {name}" for name in FUNCTIONS if name not in granted]
    if lacking:
        return problem(f"{role.name} lacks {', '.join(lacking)}", "GRANT it, or make this role the owner of the tables")
    return ok(f"{role.name} may do all that the service does")


def migrating(ctx: Context, subject: Subject) -> Verdicts:
    """A migration alters tables, which only their owner may, and makes new ones."""
    database = subject.database
    role = database.row(ctx, "role")
    foreign = database.rows(ctx, "owners", relations=list(NEEDED))
    if foreign or not role.may_create:
        why = f"{foreign[0].relation} is {foreign[0].owner}'s" if foreign else f"it may not create in schema {role.schema}"
        return warning(f"{role.name} cannot migrate: {why}", "let the owner run `ledgerd migrate` before each new version")
    return ok(f"{role.name} may migrate")


def superfluous(ctx: Context, subject: Subject) -> Verdicts:
    """A superuser can silence the triggers that keep the log append-only, and leave the database."""
    role = subject.database.row(ctx, "role")
    more = {
        "is a superuser": role.is_superuser,
        "may set session_replication_role, which silences the append-only triggers": role.silences_triggers,
        "may write files or run programs on the server": role.leaves_the_database,
        "may make roles": role.makes_roles,
        "may read the log of all databases": role.replicates,
    }
    found = [text for text, is_so in more.items() if is_so]
    if found:
        return warning(
            f"{role.name} {'; '.join(found[:1] if role.is_superuser else found)}: more than the service needs",
            f"CREATE ROLE ledgerd LOGIN; ALTER DATABASE {role.database} OWNER TO ledgerd; and let DATABASE_URL name that role",
        )
    return ok(f"{role.name} is no superuser and has no right beyond its tables")


def append_only(ctx: Context, subject: Subject) -> Verdicts:
    """Whether the triggers that refuse changes of the log are there, and fire."""
    lacking = []
    for name, relation in GUARDS.items():
        rows = subject.database.rows(ctx, "guards", names=[name], relation=relation)
        if not rows:
            lacking.append(f"{name} is missing")
        elif rows[0].state not in ALWAYS_FIRES:
            lacking.append(f"{name} is disabled")
    if lacking:
        return problem(
            f"the log can be changed: {', '.join(lacking)}",
            "ALTER TABLE … ENABLE TRIGGER …; find out who turned it off, and what was done meanwhile",
        )
    return ok("the triggers that keep the log append-only fire")


GROUP = Group("permissions", (
    Examination("rights", rights), Examination("migrating", migrating), Examination("superfluous rights", superfluous),
    Examination("append-only", append_only),
))  # fmt: skip
