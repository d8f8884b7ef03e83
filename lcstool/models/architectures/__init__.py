"""The networks, one module a family; `models/registry.py` lists them."""
