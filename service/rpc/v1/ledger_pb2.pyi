import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AccountStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCOUNT_STATUS_UNSPECIFIED: _ClassVar[AccountStatus]
    ACCOUNT_STATUS_OPEN: _ClassVar[AccountStatus]
    ACCOUNT_STATUS_FROZEN: _ClassVar[AccountStatus]
    ACCOUNT_STATUS_CLOSED: _ClassVar[AccountStatus]

class TransferKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRANSFER_KIND_UNSPECIFIED: _ClassVar[TransferKind]
    TRANSFER_KIND_TRANSFER: _ClassVar[TransferKind]
    TRANSFER_KIND_HOLD: _ClassVar[TransferKind]
    TRANSFER_KIND_CAPTURE: _ClassVar[TransferKind]
    TRANSFER_KIND_RELEASE: _ClassVar[TransferKind]
    TRANSFER_KIND_EXPIRY: _ClassVar[TransferKind]
    TRANSFER_KIND_REVERSAL: _ClassVar[TransferKind]

class TransferStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRANSFER_STATUS_UNSPECIFIED: _ClassVar[TransferStatus]
    TRANSFER_STATUS_POSTED: _ClassVar[TransferStatus]
    TRANSFER_STATUS_OPEN: _ClassVar[TransferStatus]
    TRANSFER_STATUS_CAPTURED: _ClassVar[TransferStatus]
    TRANSFER_STATUS_RELEASED: _ClassVar[TransferStatus]
    TRANSFER_STATUS_EXPIRED: _ClassVar[TransferStatus]
    TRANSFER_STATUS_REVERSED: _ClassVar[TransferStatus]

class EntryOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENTRY_ORDER_UNSPECIFIED: _ClassVar[EntryOrder]
    ENTRY_ORDER_ASC: _ClassVar[EntryOrder]
    ENTRY_ORDER_DESC: _ClassVar[EntryOrder]

class EntryDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENTRY_DIRECTION_UNSPECIFIED: _ClassVar[EntryDirection]
    ENTRY_DIRECTION_DEBIT: _ClassVar[EntryDirection]
    ENTRY_DIRECTION_CREDIT: _ClassVar[EntryDirection]
ACCOUNT_STATUS_UNSPECIFIED: AccountStatus
ACCOUNT_STATUS_OPEN: AccountStatus
ACCOUNT_STATUS_FROZEN: AccountStatus
ACCOUNT_STATUS_CLOSED: AccountStatus
TRANSFER_KIND_UNSPECIFIED: TransferKind
TRANSFER_KIND_TRANSFER: TransferKind
TRANSFER_KIND_HOLD: TransferKind
TRANSFER_KIND_CAPTURE: TransferKind
TRANSFER_KIND_RELEASE: TransferKind
TRANSFER_KIND_EXPIRY: TransferKind
TRANSFER_KIND_REVERSAL: TransferKind
TRANSFER_STATUS_UNSPECIFIED: TransferStatus
TRANSFER_STATUS_POSTED: TransferStatus
TRANSFER_STATUS_OPEN: TransferStatus
TRANSFER_STATUS_CAPTURED: TransferStatus
TRANSFER_STATUS_RELEASED: TransferStatus
TRANSFER_STATUS_EXPIRED: TransferStatus
TRANSFER_STATUS_REVERSED: TransferStatus
ENTRY_ORDER_UNSPECIFIED: EntryOrder
ENTRY_ORDER_ASC: EntryOrder
ENTRY_ORDER_DESC: EntryOrder
ENTRY_DIRECTION_UNSPECIFIED: EntryDirection
ENTRY_DIRECTION_DEBIT: EntryDirection
ENTRY_DIRECTION_CREDIT: EntryDirection

class Account(_message.Message):
    __slots__ = ("id", "user_id", "asset", "balance", "held", "available", "min_balance", "max_balance", "status", "version", "metadata", "created_at", "updated_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    MIN_BALANCE_FIELD_NUMBER: _ClassVar[int]
    MAX_BALANCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: int
    user_id: int
    asset: str
    balance: int
    held: int
    available: int
    min_balance: int
    max_balance: int
    status: AccountStatus
    version: int
    metadata: _struct_pb2.Struct
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[int] = ..., user_id: _Optional[int] = ..., asset: _Optional[str] = ..., balance: _Optional[int] = ..., held: _Optional[int] = ..., available: _Optional[int] = ..., min_balance: _Optional[int] = ..., max_balance: _Optional[int] = ..., status: _Optional[_Union[AccountStatus, str]] = ..., version: _Optional[int] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateAccountRequest(_message.Message):
    __slots__ = ("user_id", "asset", "min_balance", "without_min_balance", "max_balance", "metadata")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    MIN_BALANCE_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_MIN_BALANCE_FIELD_NUMBER: _ClassVar[int]
    MAX_BALANCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    asset: str
    min_balance: int
    without_min_balance: bool
    max_balance: int
    metadata: _struct_pb2.Struct
    def __init__(self, user_id: _Optional[int] = ..., asset: _Optional[str] = ..., min_balance: _Optional[int] = ..., without_min_balance: _Optional[bool] = ..., max_balance: _Optional[int] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class GetAccountRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class ListAccountsRequest(_message.Message):
    __slots__ = ("limit", "cursor", "user_id")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    limit: int
    cursor: str
    user_id: int
    def __init__(self, limit: _Optional[int] = ..., cursor: _Optional[str] = ..., user_id: _Optional[int] = ...) -> None: ...

class ListAccountsResponse(_message.Message):
    __slots__ = ("accounts", "next_cursor")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedCompositeFieldContainer[Account]
    next_cursor: str
    def __init__(self, accounts: _Optional[_Iterable[_Union[Account, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class UpdateAccountRequest(_message.Message):
    __slots__ = ("id", "status", "min_balance", "without_min_balance", "max_balance", "without_max_balance", "metadata")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MIN_BALANCE_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_MIN_BALANCE_FIELD_NUMBER: _ClassVar[int]
    MAX_BALANCE_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_MAX_BALANCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: int
    status: AccountStatus
    min_balance: int
    without_min_balance: bool
    max_balance: int
    without_max_balance: bool
    metadata: _struct_pb2.Struct
    def __init__(self, id: _Optional[int] = ..., status: _Optional[_Union[AccountStatus, str]] = ..., min_balance: _Optional[int] = ..., without_min_balance: _Optional[bool] = ..., max_balance: _Optional[int] = ..., without_max_balance: _Optional[bool] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Transfer(_message.Message):
    __slots__ = ("id", "kind", "status", "from_account_id", "to_account_id", "amount", "asset", "reference", "metadata", "from_version", "to_version", "from_balance", "to_balance", "from_held", "created_at", "expires_at", "resolves_id", "resolved_by_id", "linked_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FROM_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    FROM_BALANCE_FIELD_NUMBER: _ClassVar[int]
    TO_BALANCE_FIELD_NUMBER: _ClassVar[int]
    FROM_HELD_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    RESOLVES_ID_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_BY_ID_FIELD_NUMBER: _ClassVar[int]
    LINKED_ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    kind: TransferKind
    status: TransferStatus
    from_account_id: int
    to_account_id: int
    amount: int
    asset: str
    reference: str
    metadata: _struct_pb2.Struct
    from_version: int
    to_version: int
    from_balance: int
    to_balance: int
    from_held: int
    created_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    resolves_id: int
    resolved_by_id: int
    linked_id: int
    def __init__(self, id: _Optional[int] = ..., kind: _Optional[_Union[TransferKind, str]] = ..., status: _Optional[_Union[TransferStatus, str]] = ..., from_account_id: _Optional[int] = ..., to_account_id: _Optional[int] = ..., amount: _Optional[int] = ..., asset: _Optional[str] = ..., reference: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., from_version: _Optional[int] = ..., to_version: _Optional[int] = ..., from_balance: _Optional[int] = ..., to_balance: _Optional[int] = ..., from_held: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., resolves_id: _Optional[int] = ..., resolved_by_id: _Optional[int] = ..., linked_id: _Optional[int] = ...) -> None: ...

class CreateTransferRequest(_message.Message):
    __slots__ = ("from_account_id", "to_account_id", "amount", "asset", "reference", "metadata", "if_from_version", "hold", "expires_in_s", "dry_run")
    FROM_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    IF_FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    from_account_id: int
    to_account_id: int
    amount: int
    asset: str
    reference: str
    metadata: _struct_pb2.Struct
    if_from_version: int
    hold: bool
    expires_in_s: int
    dry_run: bool
    def __init__(self, from_account_id: _Optional[int] = ..., to_account_id: _Optional[int] = ..., amount: _Optional[int] = ..., asset: _Optional[str] = ..., reference: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., if_from_version: _Optional[int] = ..., hold: _Optional[bool] = ..., expires_in_s: _Optional[int] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class GetTransferRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: int
    def __init__(self, id: _Optional[int] = ...) -> None: ...

class ListTransfersRequest(_message.Message):
    __slots__ = ("limit", "cursor", "account_id", "reference", "since", "until")
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    limit: int
    cursor: str
    account_id: int
    reference: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    def __init__(self, limit: _Optional[int] = ..., cursor: _Optional[str] = ..., account_id: _Optional[int] = ..., reference: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListTransfersResponse(_message.Message):
    __slots__ = ("transfers", "next_cursor")
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    transfers: _containers.RepeatedCompositeFieldContainer[Transfer]
    next_cursor: str
    def __init__(self, transfers: _Optional[_Iterable[_Union[Transfer, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class CaptureHoldRequest(_message.Message):
    __slots__ = ("hold_id", "amount", "reference", "metadata", "dry_run")
    HOLD_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    hold_id: int
    amount: int
    reference: str
    metadata: _struct_pb2.Struct
    dry_run: bool
    def __init__(self, hold_id: _Optional[int] = ..., amount: _Optional[int] = ..., reference: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class ReleaseHoldRequest(_message.Message):
    __slots__ = ("hold_id", "reference", "metadata", "dry_run")
    HOLD_ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    hold_id: int
    reference: str
    metadata: _struct_pb2.Struct
    dry_run: bool
    def __init__(self, hold_id: _Optional[int] = ..., reference: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class ReverseTransferRequest(_message.Message):
    __slots__ = ("transfer_id", "reference", "metadata", "dry_run")
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    transfer_id: int
    reference: str
    metadata: _struct_pb2.Struct
    dry_run: bool
    def __init__(self, transfer_id: _Optional[int] = ..., reference: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class StreamEventsRequest(_message.Message):
    __slots__ = ("after", "types", "account_ids", "follow")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_IDS_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    after: int
    types: _containers.RepeatedScalarFieldContainer[str]
    account_ids: _containers.RepeatedScalarFieldContainer[int]
    follow: bool
    def __init__(self, after: _Optional[int] = ..., types: _Optional[_Iterable[str]] = ..., account_ids: _Optional[_Iterable[int]] = ..., follow: _Optional[bool] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("id", "type", "created_at", "data")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    id: int
    type: str
    created_at: _timestamp_pb2.Timestamp
    data: EventData
    def __init__(self, id: _Optional[int] = ..., type: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., data: _Optional[_Union[EventData, _Mapping]] = ...) -> None: ...

class EventData(_message.Message):
    __slots__ = ("transfer", "account")
    TRANSFER_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    transfer: Transfer
    account: AccountSettings
    def __init__(self, transfer: _Optional[_Union[Transfer, _Mapping]] = ..., account: _Optional[_Union[AccountSettings, _Mapping]] = ...) -> None: ...

class AccountSettings(_message.Message):
    __slots__ = ("id", "user_id", "asset", "status", "min_balance", "max_balance", "metadata")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MIN_BALANCE_FIELD_NUMBER: _ClassVar[int]
    MAX_BALANCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    id: int
    user_id: int
    asset: str
    status: AccountStatus
    min_balance: int
    max_balance: int
    metadata: _struct_pb2.Struct
    def __init__(self, id: _Optional[int] = ..., user_id: _Optional[int] = ..., asset: _Optional[str] = ..., status: _Optional[_Union[AccountStatus, str]] = ..., min_balance: _Optional[int] = ..., max_balance: _Optional[int] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class GetBalanceRequest(_message.Message):
    __slots__ = ("account_id", "at")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    at: _timestamp_pb2.Timestamp
    def __init__(self, account_id: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Balance(_message.Message):
    __slots__ = ("account_id", "asset", "balance", "held", "available", "version", "updated_at", "at")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    asset: str
    balance: int
    held: int
    available: int
    version: int
    updated_at: _timestamp_pb2.Timestamp
    at: _timestamp_pb2.Timestamp
    def __init__(self, account_id: _Optional[int] = ..., asset: _Optional[str] = ..., balance: _Optional[int] = ..., held: _Optional[int] = ..., available: _Optional[int] = ..., version: _Optional[int] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListEntriesRequest(_message.Message):
    __slots__ = ("account_id", "limit", "cursor", "since", "until", "direction", "order")
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    account_id: int
    limit: int
    cursor: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    direction: EntryDirection
    order: EntryOrder
    def __init__(self, account_id: _Optional[int] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., direction: _Optional[_Union[EntryDirection, str]] = ..., order: _Optional[_Union[EntryOrder, str]] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("version", "transfer_id", "kind", "direction", "amount", "balance", "held", "other_account_id", "asset", "reference", "metadata", "created_at")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    OTHER_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    version: int
    transfer_id: int
    kind: TransferKind
    direction: EntryDirection
    amount: int
    balance: int
    held: int
    other_account_id: int
    asset: str
    reference: str
    metadata: _struct_pb2.Struct
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, version: _Optional[int] = ..., transfer_id: _Optional[int] = ..., kind: _Optional[_Union[TransferKind, str]] = ..., direction: _Optional[_Union[EntryDirection, str]] = ..., amount: _Optional[int] = ..., balance: _Optional[int] = ..., held: _Optional[int] = ..., other_account_id: _Optional[int] = ..., asset: _Optional[str] = ..., reference: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_cursor", "previous_cursor")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_CURSOR_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    next_cursor: str
    previous_cursor: str
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., next_cursor: _Optional[str] = ..., previous_cursor: _Optional[str] = ...) -> None: ...

class LinkedTransfer(_message.Message):
    __slots__ = ("from_account_id", "to_account_id", "amount", "asset", "reference", "metadata", "if_from_version", "hold", "expires_in_s")
    FROM_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    TO_ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    IF_FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    from_account_id: int
    to_account_id: int
    amount: int
    asset: str
    reference: str
    metadata: _struct_pb2.Struct
    if_from_version: int
    hold: bool
    expires_in_s: int
    def __init__(self, from_account_id: _Optional[int] = ..., to_account_id: _Optional[int] = ..., amount: _Optional[int] = ..., asset: _Optional[str] = ..., reference: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., if_from_version: _Optional[int] = ..., hold: _Optional[bool] = ..., expires_in_s: _Optional[int] = ...) -> None: ...

class CreateLinkedTransfersRequest(_message.Message):
    __slots__ = ("transfers", "dry_run")
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    transfers: _containers.RepeatedCompositeFieldContainer[LinkedTransfer]
    dry_run: bool
    def __init__(self, transfers: _Optional[_Iterable[_Union[LinkedTransfer, _Mapping]]] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class CreateLinkedTransfersResponse(_message.Message):
    __slots__ = ("transfers",)
    TRANSFERS_FIELD_NUMBER: _ClassVar[int]
    transfers: _containers.RepeatedCompositeFieldContainer[Transfer]
    def __init__(self, transfers: _Optional[_Iterable[_Union[Transfer, _Mapping]]] = ...) -> None: ...
