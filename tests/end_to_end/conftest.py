"""The whole product over a real database, as the fault tests have it."""

from __future__ import annotations

from tests.faults.conftest import MakeProduct, make_product

__all__ = ["MakeProduct", "make_product"]
