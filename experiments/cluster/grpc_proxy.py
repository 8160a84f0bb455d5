"""Optuna's gRPC proxy with the ledger beside it: one process talks to PostgreSQL for all workers.

The proxy keeps what is finished in memory, so that a thousand workers are not a thousand
readers of the database, and they need neither its password nor its driver. Optuna's protocol has no
call for the claims; they go over the same port as a second service, as JSON. There is no login:
whoever reaches the port can write the study, as with Optuna's own.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import BaseStorage, RDBStorage

from ...search_space.errors import InputError
from ..config.sections import Storage
from .ledger import CONFIG_KEY, Ledger, Lost, PostgresLedger, Taken

if TYPE_CHECKING:
    import grpc

_SERVICE = "convnas.Ledger"
_THREADS = 32
_READY = 30.0
"""Seconds in which the server must answer."""
_LOST = "lost"
"""What stands for `Lost` in an answer: no call answers with a text otherwise."""


def connect(url: str) -> BaseStorage:
    """The storage behind the proxy at `grpc://HOST:PORT`. Raises InputError."""
    _need_grpc(url)
    host, _, port = url.removeprefix("grpc://").rstrip("/").rpartition(":")
    if not host or not port.isdigit():
        raise InputError("STORAGE_URL", url, "it must be grpc://HOST:PORT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.GrpcStorageProxy(host=host, port=int(port))
    try:
        storage.wait_server_ready(timeout=_READY)
    except ConnectionError as e:
        storage.close()
        raise InputError("STORAGE_URL", url, f"nobody answers there after {_READY:g} s") from e
    return storage


def serve(storage: RDBStorage, host: str, port: int) -> grpc.Server:
    """A started server for `storage` and the ledgers of its studies. Raises InputError."""
    _need_grpc(f"{host}:{port}")
    from optuna.storages._cached_storage import _CachedStorage
    from optuna.storages._grpc.server import make_server

    pool = ThreadPoolExecutor(_THREADS)
    try:
        server = make_server(_CachedStorage(storage), host, port, pool)
    except RuntimeError as e:
        raise InputError("port", port, f"choose a free one ({e})") from e
    server.add_generic_rpc_handlers((_handlers(storage),))
    server.start()
    return server


def _need_grpc(value: str) -> None:
    try:
        import grpc  # noqa: F401
        from optuna.storages._grpc.auto_generated import api_pb2  # noqa: F401
    except ImportError as e:
        raise InputError("proxy", value, "it needs grpcio: pip install 'convnas[proxy]'") from e


def _handlers(storage: RDBStorage) -> Any:
    import grpc

    ledgers: dict[int, PostgresLedger] = {}

    def ledger(study_id: int) -> PostgresLedger:
        # Two threads may make one each, which is harmless: the lock in a ledger only spares
        # connections, and what must be exclusive is locked in the database.
        if study_id not in ledgers:
            config = storage.get_study_system_attrs(study_id)[CONFIG_KEY]
            grace = Storage.model_validate(config["storage"]).grace
            ledgers[study_id] = PostgresLedger(storage, study_id, grace=grace)
        return ledgers[study_id]

    def handler(call: Callable[..., Any]) -> Any:
        def answer(asked: Mapping[str, Any], context: object) -> Any:
            try:
                return call(ledger(asked["study"]), *asked["given"])
            except Lost:
                return _LOST

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=json.loads, response_serializer=_as_json
        )

    # Dataclasses and sets are no JSON; `ProxiedLedger` makes them again.
    calls: dict[str, Callable[..., Any]] = {
        "take": lambda own, *given: vars(own.take(*given)),
        "claim": PostgresLedger.claim,
        "keep": lambda own, *given: sorted(own.keep(*given)),
        "release": PostgresLedger.release,
        "counts": PostgresLedger.counts,
        "nodes": PostgresLedger.nodes,
    }
    return grpc.method_handlers_generic_handler(
        _SERVICE, {name: handler(call) for name, call in calls.items()}
    )


def _as_json(thing: Any) -> bytes:
    return json.dumps(thing).encode()


class ProxiedLedger(Ledger):
    """A ledger at the other end of a `GrpcStorageProxy`'s channel."""

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        assert isinstance(storage, optuna.storages.GrpcStorageProxy)
        self._channel, self._study = storage._channel, study_id

    def take(self, node: str, wanted: int, points: int | None) -> Taken:
        return Taken(**self._ask("take", node, wanted, points))

    def claim(self, node: str, trial_id: int, key: str) -> bool:
        return bool(self._ask("claim", node, trial_id, key))

    def keep(self, node: str, trial_ids: Collection[int]) -> set[int]:
        return set(self._ask("keep", node, list(trial_ids)))

    def release(self, node: str, trial_ids: Collection[int]) -> None:
        self._ask("release", node, list(trial_ids))

    def counts(self) -> dict[str, int]:
        return dict(self._ask("counts"))

    def nodes(self) -> list[tuple[str, int, float]]:
        return [(node, number, age) for node, number, age in self._ask("nodes")]

    def _ask(self, name: str, *given: Any) -> Any:
        call = self._channel.unary_unary(
            f"/{_SERVICE}/{name}", request_serializer=_as_json, response_deserializer=json.loads
        )
        answer = call({"study": self._study, "given": given})
        if answer == _LOST:
            raise Lost
        return answer
