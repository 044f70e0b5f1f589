"""File formats of models: export, import, and the backends that run them."""
