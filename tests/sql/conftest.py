"""The fixtures of the warehouse serve typed SQL too."""

from tests.warehouse.conftest import add_parcel, python, warehouse

__all__ = ["add_parcel", "python", "warehouse"]
