"""The whole product over a real database, started and stopped by the test."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devenv.database import Server
from tests.faults.product import Product

MakeProduct = Callable[..., Product]


@pytest.fixture
def make_product(tmp_path: Path) -> Iterator[MakeProduct]:
    """``make_product(server)`` migrates a database and, unless told not to, starts Rowcast over it."""
    made: list[Product] = []

    def make(server: Server, *, start: bool = True, **options: object) -> Product:
        product = Product(server, tmp_path, **options)  # type: ignore[arg-type]  # passed on as they are
        made.append(product)
        product.migrate()
        if start:
            product.start()
        return product

    yield make
    for product in made:
        if product.running:
            product.kill()
        with contextlib.suppress(RuntimeError):  # the server may be down by now
            product.server.sql(f"DROP DATABASE IF EXISTS {product.database}")
