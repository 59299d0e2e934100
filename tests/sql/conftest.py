"""The fixtures of the warehouse serve typed SQL too."""

from tests.warehouse.conftest import _template, add_parcel, python, warehouse

__all__ = ["_template", "add_parcel", "python", "warehouse"]
