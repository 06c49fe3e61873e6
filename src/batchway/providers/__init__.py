"""Providers: vendors are translators, each a row in `registry` and a dialect, which only encodes and decodes."""
