"""The server: one file per surface over the same engine. Handlers parse, ask the engine, and render."""
