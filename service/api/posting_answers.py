"""What the answers to posting look like where it is more than a transfer: tried, linked, thousands at once, a file of them."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import fields

from service.api.answers import CODES, AnswerSchema, FieldProblem, TransferAnswer
from service.api.fields import Choice, Described, Text, Whole
from service.ledger.money import GREATEST_AMOUNT, GREATEST_ID


class TriedTransferAnswer(TransferAnswer):
    """What the key had posted before, as it is now; or what a dry run would post, whose `id` is null."""

    id = Whole(1, GREATEST_ID, required=True, allow_none=True)

    example: ClassVar[dict[str, Any]] = {**TransferAnswer.example, "id": None}


class LinkedAnswer(AnswerSchema):
    """Transfers that were posted together, in the order of the request."""

    transfers = fields.List(fields.Nested(TransferAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"transfers": [TransferAnswer.example]}


class TriedLinkedAnswer(AnswerSchema):
    """What the key had posted before, or what a dry run would post together."""

    transfers = fields.List(fields.Nested(TriedTransferAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"transfers": [TriedTransferAnswer.example]}


class BulkResult(AnswerSchema):
    """What became of one transfer of a bulk request: what it made, or the error that it met."""

    status = Whole(200, 599, required=True, meaning="201: posted; 200: posted before, by the same key; else of its `code`")
    id = Whole(1, GREATEST_ID)
    from_version = Whole(1)
    to_version = Whole(1)
    from_balance = Whole(-GREATEST_AMOUNT)
    to_balance = Whole(-GREATEST_AMOUNT)
    code = Choice(*CODES)
    detail = Described[str]({"type": "string"})
    errors = fields.List(fields.Nested(FieldProblem))

    example: ClassVar[dict[str, Any]] = {
        "status": 201, "id": 1, "from_version": 1, "to_version": 1, "from_balance": -1250, "to_balance": 1250,
    }
    json_schema: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {
                "properties": {"status": {"enum": [200, 201]}},
                "required": ["id", "from_version", "to_version", "from_balance", "to_balance"],
            },
            {"properties": {"status": {"minimum": 400}}, "required": ["code", "detail", "errors"]},
        ],
    }


class BulkAnswer(AnswerSchema):
    """What became of a bulk request, in the order of its transfers."""

    mode = Choice("independent", "atomic", required=True)
    posted = Whole(0, required=True, meaning="how many were posted")
    replayed = Whole(0, required=True, meaning="how many had been posted before")
    refused = Whole(0, required=True, meaning="how many were refused")
    results = fields.List(fields.Nested(BulkResult), required=True)

    example: ClassVar[dict[str, Any]] = {
        "mode": "independent", "posted": 1, "replayed": 0, "refused": 0, "results": [BulkResult.example],
    }


class ImportRefusal(AnswerSchema):
    """Why a line was not posted."""

    line = Whole(1, required=True, meaning="its number in the file; of a record of several lines, that of the first")
    code = Choice(*CODES, required=True)
    detail = Described[str]({"type": "string"}, required=True)
    field = Described[str]({"type": "string"}, required=True, meaning="the part of the line that is to blame, or empty")

    example: ClassVar[dict[str, Any]] = {
        "line": 3, "code": "insufficient_funds", "detail": "The debit would take the account below its min_balance.",
        "field": "amount",
    }


class ImportAnswer(AnswerSchema):
    """What became of an import; lines that were not posted are told up to a number."""

    name = Text(1, 200, required=True)
    lines = Whole(0, required=True, meaning="how many there were, without a first line of names")
    posted = Whole(0, required=True)
    replayed = Whole(0, required=True, meaning="how many had been posted before, by this import or by their keys")
    refused = Whole(0, required=True)
    refusals = fields.List(fields.Nested(ImportRefusal), required=True)
    refusals_left_out = Whole(0, required=True)

    example: ClassVar[dict[str, Any]] = {
        "name": "payroll-2026-01", "lines": 3, "posted": 2, "replayed": 0, "refused": 1,
        "refusals": [ImportRefusal.example], "refusals_left_out": 0,
    }


