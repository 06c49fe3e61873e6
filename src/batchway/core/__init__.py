"""Every decision batchway makes, as plain functions and small state machines that do no I/O and are told the time."""
