"""What clients are told of a refusal: the error of the taxonomy for the verdict of the rules."""

from __future__ import annotations

from service.errors import FieldError, LedgerdError, taxonomy

_ERRORS = taxonomy()
_MESSAGES = {
    ("same_account", "to_account_id"): "A transfer needs two different accounts.",
    ("not_found", "from_account_id"): "No such account to debit in this ledger.",
    ("not_found", "to_account_id"): "No such account to credit in this ledger.",
    ("not_found", "hold_id"): "No such hold in this ledger.",
    ("not_found", "transfer_id"): "No such transfer in this ledger.",
    ("not_a_hold", "hold_id"): "Only a hold can be captured or released, and this is none.",
    ("not_reversible", "transfer_id"): "Only a transfer or a capture can be reversed, and this is neither.",
    ("already_reversed", "transfer_id"): "This has been reversed before.",
    ("hold_resolved", "hold_id"): "This hold has been captured or released before, or it has expired.",
    ("conflict", "hold_id"): "This hold has not expired.",
    ("asset_mismatch", "to_account_id"): "The two accounts hold different assets.",
    ("asset_mismatch", "asset"): "The accounts hold another asset than the request names.",
    ("account_closed", "from_account_id"): "The account to debit is closed.",
    ("account_closed", "to_account_id"): "The account to credit is closed.",
    ("account_frozen", "from_account_id"): "The account to debit is frozen.",
    ("account_frozen", "to_account_id"): "The account to credit is frozen.",
    ("version_mismatch", "if_from_version"): "The account to debit has another version than the request expects.",
    ("insufficient_funds", "amount"): "The debit would take the account below its min_balance.",
    ("limit_exceeded", "amount"): "The capture would take more than is held.",
    ("limit_exceeded", "from_account_id"): "The debit would take the balance below -(2^53-1), or what is held above 2^53-1.",
    ("limit_exceeded", "to_account_id"): "The credit would take the account above its max_balance, or above 2^53-1.",
    ("idempotency_key_reused", "Idempotency-Key"): "This key was used for another request; take a new key for a new request.",
}


def refusal(code: str, field: str, leg: int | None = None) -> LedgerdError:
    """The error that tells a client of a refusal; `leg` is the number, from 0 on, of the one among several that it blames."""
    message = _MESSAGES[code, field]
    if leg is None:
        return _ERRORS[code](message, fields=(FieldError(field, message),))
    return _ERRORS[code](f"transfers[{leg}]: {message}", fields=(FieldError(f"transfers[{leg}].{field}", message),))
