"""Providers: vendors are translators. A provider is a row in `registry` and a dialect, which only encodes and decodes."""
