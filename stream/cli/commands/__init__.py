"""One file a command: `EXAMPLES`, `add_arguments` and `run`; `main.COMMANDS` lists them."""
